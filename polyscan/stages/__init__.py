"""The stages of a scan, one module each. A stage module defines `shards(job, run)` and `Worker(job, run)`."""
