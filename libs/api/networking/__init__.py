"""Kinds of the group networking.istio.io, one file a kind."""
