"""Kubeconfigs for tests: how `kubectl` and our clients are told about a test's API server."""

from pathlib import Path

import yaml

from tests.support.kube_apiserver import ApiServer


def write_kubeconfig(server: ApiServer, path: Path, *, token: str = "") -> Path:
    """Write a kubeconfig for `server` to `path`: its administrator, unless `token` is another's."""
    cluster = {
        "server": f"https://127.0.0.1:{server.port}",
        "certificate-authority": str(server.authority),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token or server.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(content))
    return path
