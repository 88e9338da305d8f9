"""Strict fakes and the contract suites that fakes and real parts both pass."""
