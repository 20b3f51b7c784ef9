"""The Kubernetes API: the only user of `kubernetes_asyncio`."""
