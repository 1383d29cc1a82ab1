"""A finished run of an invented network, with known truth, for tests and for what comes after a scan."""
