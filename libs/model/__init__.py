"""The mesh as data: what exists, what is wanted, and which keys moved.

Nothing here knows a source format (Kubernetes, Istio) or a target format (Envoy).
"""
