//! Has only tests: see `tests/`.
