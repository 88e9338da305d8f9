"""The autoheal command: parse, call, print."""
