"""The tests. `unit` mirrors the package; `contract`, `integration`, `acceptance` and `crash` start real parts."""
