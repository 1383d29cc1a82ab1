"""The matrix of failures: each cell is a fault done on purpose, and the same bytes as if it had not been."""
