"""Races against bare torch and against peers: each line is a ratio of times of one run."""
