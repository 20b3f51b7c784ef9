"""Kubernetes and Istio resources as frozen Structs: decoding, defaults, validation."""
