"""Envoy's side of the hourglass: resources made from a scope, and their protocol."""
