"""Kinds of the group security.istio.io, one file a kind."""
