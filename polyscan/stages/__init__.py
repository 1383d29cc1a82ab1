"""The line's verbs, one file each. A stage gives two names: `shards(job, run)` and `Worker(job, run)`."""
