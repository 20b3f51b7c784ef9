"""Injection: the judge of pods, what it knows of the cluster, and what it tells about pods."""
