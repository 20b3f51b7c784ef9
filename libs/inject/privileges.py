"""Privileges: the security contexts of what injection adds.

All of them meet Kubernetes' restricted standard, but for what interception needs: the init
container lays rules, which takes NET_ADMIN and NET_RAW, and a proxy under TPROXY needs NET_ADMIN
itself.
"""

from collections.abc import Mapping
from typing import Any

from libs.api.proxy_defaults import Interception
from libs.inject.openshift import Identity
from libs.inject.scene import Scene


def identity(scene: Scene) -> Identity:
    """Return whom the interception rules leave alone: the user and group of the proxy.

    Under TPROXY the proxy runs as root, and its group tells it apart, which the rules know.
    """
    return Identity() if scene.interception is Interception.TPROXY else scene.identity


def of_proxy(scene: Scene) -> dict[str, Any]:
    """Return the security context of `istio-proxy`."""
    own, transparent = identity(scene), scene.interception is Interception.TPROXY
    added = ["NET_ADMIN"] if transparent else []
    added += ["NET_BIND_SERVICE"] if scene.wishes.bind_low_ports else []
    return {
        **_confined(added),
        "readOnlyRootFilesystem": True,
        "runAsUser": 0 if transparent else own.user,
        "runAsGroup": own.group,
        "runAsNonRoot": not transparent,
        "seccompProfile": _seccomp(scene),
    }


def of_init(scene: Scene) -> dict[str, Any]:
    """Return the security context of `istio-init`."""
    privileged = scene.settings.config.values.global_.proxy.privileged
    return {
        **_confined(["NET_ADMIN", "NET_RAW"]),
        "allowPrivilegeEscalation": privileged,
        "privileged": privileged,
        "readOnlyRootFilesystem": False,
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": False,
        "seccompProfile": _seccomp(scene),
    }


def of_validation(scene: Scene) -> dict[str, Any]:
    """Return the security context of `istio-validation`, which only looks."""
    return {
        **_confined([]),
        "readOnlyRootFilesystem": True,
        "runAsUser": identity(scene).user,
        "runAsGroup": identity(scene).group,
        "runAsNonRoot": True,
        "seccompProfile": _seccomp(scene),
    }


def _confined(added: list[str]) -> dict[str, Any]:
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if added:
        capabilities["add"] = added
    return {"allowPrivilegeEscalation": False, "privileged": False, "capabilities": capabilities}


def _seccomp(scene: Scene) -> Mapping[str, Any]:
    return scene.settings.config.values.global_.proxy.seccomp_profile or {"type": "RuntimeDefault"}
