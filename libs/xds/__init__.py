"""Envoy's side of the hourglass: resources generated from a scope, and the protocol that carries them."""
