"""Interception: the init container that sends a pod's traffic through its proxy.

Its flags are those of `agent init`, which are istio-iptables'. With a CNI plugin that lays the
rules the container only looks whether they are there.
"""

from typing import Any

from libs.api.proxy_defaults import Interception
from libs.inject import images, privileges, words
from libs.inject.resources import resources
from libs.inject.scene import PROMETHEUS_PORT, READY_PORT, Scene


def init_containers(scene: Scene) -> list[dict[str, Any]]:
    """Return the container, or nothing where traffic is not intercepted."""
    if scene.interception is Interception.NONE:
        return []
    values = scene.settings.config.values
    looks = values.pilot.cni.enabled
    args = [*flags(scene), *(["--run-validation", "--skip-rule-apply"] if looks else [])]
    found = {
        "name": words.VALIDATION if looks else words.INIT,
        "image": images.init_image(scene),
        "args": ["init", *args],
        "securityContext": (
            privileges.of_validation(scene) if looks else privileges.of_init(scene)
        ),
        "resources": values.global_.proxy_init.resources or resources(scene),
        "env": [{"name": name, "value": text} for name, text in scene.proxy.proxy_metadata.items()],
    }
    if values.global_.image_pull_policy:
        found["imagePullPolicy"] = values.global_.image_pull_policy
    return [found]


def flags(scene: Scene) -> list[str]:
    """Return the flags of `agent init` for a pod."""
    said, values = scene.wishes.traffic, scene.settings.config.values.global_.proxy
    left_alone = [str(PROMETHEUS_PORT), str(READY_PORT), str(scene.status_port)]
    if more := _first(said.exclude_inbound_ports, values.exclude_inbound_ports):
        left_alone.append(more)
    found = [
        *("-p", str(scene.settings.mesh.proxy_listen_port or 15001)),
        *("-z", str(scene.settings.mesh.proxy_inbound_listen_port or 15006)),
        *("-u", str(privileges.USER)),
        *("-m", str(scene.interception)),
        *("-i", _first(said.include_outbound_ranges, values.include_ip_ranges)),
        *("-x", _first(said.exclude_outbound_ranges, values.exclude_ip_ranges)),
        *("-b", _first(said.include_inbound_ports, values.include_inbound_ports)),
        *("-d", ",".join(left_alone)),
    ]
    optional = {
        "-q": _first(said.include_outbound_ports, values.include_outbound_ports),
        "-o": _first(said.exclude_outbound_ports, values.exclude_outbound_ports),
        "-c": _first(said.exclude_interfaces, values.exclude_interfaces),
        "-k": said.virtual_interfaces or "",
    }
    for flag, text in optional.items():
        if text:
            found += [flag, text]
    if scene.settings.config.values.global_.native_nftables:
        found.append("--native-nftables")
    return found


def _first(said: str | None, default: str) -> str:
    return default if said is None else said
