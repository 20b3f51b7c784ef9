"""Kinds of the group extensions.istio.io, one file a kind."""
