"""Questions asked of jobs and whole runs, one file each."""
