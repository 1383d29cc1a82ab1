"""Studies of jobs and whole runs: scanning, plan, status, show, figure, validate, compare, robustness."""
