"""The agent: one process beside every proxy. See README.md."""
