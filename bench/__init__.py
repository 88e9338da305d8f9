"""Benchmarks: each prints our figure beside a peer's or the floor's, measured in the same run, as a ratio."""
