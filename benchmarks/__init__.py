"""Races against bare torch and against a peer: `python -m benchmarks`. Every line is a ratio of times of one run."""
