"""Machine: the agent outside of Kubernetes, started from the files that somebody brought there."""
