"""Kinds of the group telemetry.istio.io, one file a kind."""
