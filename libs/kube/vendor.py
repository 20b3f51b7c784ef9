"""Vendor: the few modules of `kubernetes_asyncio` that are used, without the thousand that are not.

Its packages import a model class for every kind of every API group: 39 MB for nothing, since bytes
are decoded into our own types. So the packages are registered empty before their modules are
imported. tests/unit/libs/kube/test_vendor.py notices when a new version no longer bears that.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

PACKAGES = ("", ".client", ".client.models")


def _register(name: str, folders: list[str]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = folders
    sys.modules[name] = module
    return module


def _register_packages() -> None:
    spec = find_spec("kubernetes_asyncio")  # finds the folder, runs nothing
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("no module named kubernetes_asyncio", name="kubernetes_asyncio")
    for suffix in PACKAGES:
        folders = [it + suffix.replace(".", "/") for it in spec.submodule_search_locations]
        _register(f"kubernetes_asyncio{suffix}", folders)


if "kubernetes_asyncio" not in sys.modules:
    _register_packages()

from kubernetes_asyncio.client.configuration import Configuration  # noqa: E402
from kubernetes_asyncio.client.rest import RESTClientObject  # noqa: E402

_client = sys.modules["kubernetes_asyncio.client"]
if not hasattr(_client, "Configuration"):
    # What the loaders of kubeconfigs import from the package; the latter only for a shortcut.
    _client.Configuration = Configuration  # type: ignore[attr-defined]
    _client.ApiClient = object  # type: ignore[attr-defined]

from kubernetes_asyncio.config import (  # noqa: E402
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

__all__ = [
    "ConfigException",
    "Configuration",
    "RESTClientObject",
    "load_incluster_config",
    "load_kube_config",
]
