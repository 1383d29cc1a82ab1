"""The peers, each in a process of its own that answers orders."""
