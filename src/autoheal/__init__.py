"""Autoheal: an alert becomes a safe, recorded, verified fix."""

__version__ = "0.1.0"
