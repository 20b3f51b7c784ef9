"""Interception: the init container that sends a pod's traffic through its proxy.

Its flags are those of `agent init`, which are istio-iptables'. With a CNI plugin that lays the
rules the container only looks whether they are there; the plugin reads the pod's settings in its
annotations.
"""

from typing import Any

from libs.api.proxy_defaults import Interception
from libs.inject import images, privileges, words
from libs.inject.annotations import Traffic
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


def annotations(scene: Scene) -> dict[str, str]:
    """Return what a CNI plugin reads of a pod, as Istio writes it: what `flags` would say.

    Without a plugin nobody reads it, and there is nothing.
    """
    if not scene.settings.config.values.pilot.cni.enabled:
        return {}
    said = _effective(scene)
    found = {
        "includeOutboundIPRanges": said.include_outbound_ranges,
        "excludeOutboundIPRanges": said.exclude_outbound_ranges,
        "includeInboundPorts": said.include_inbound_ports,
        "excludeInboundPorts": _once(str(scene.status_port), said.exclude_inbound_ports),
        "includeOutboundPorts": said.include_outbound_ports,
        "excludeOutboundPorts": said.exclude_outbound_ports,
        "excludeInterfaces": said.exclude_interfaces,
    }
    return {
        "sidecar.istio.io/interceptionMode": str(scene.interception),
        **{f"traffic.sidecar.istio.io/{name}": text for name, text in found.items() if text},
        **({words.VIRTUAL_INTERFACES: said.virtual_interfaces} if said.virtual_interfaces else {}),
    }


def flags(scene: Scene) -> list[str]:
    """Return the flags of `agent init` for a pod."""
    said = _effective(scene)
    own = (str(PROMETHEUS_PORT), str(READY_PORT), str(scene.status_port))
    found = [
        *("-p", str(scene.settings.mesh.proxy_listen_port or 15001)),
        *("-z", str(scene.settings.mesh.proxy_inbound_listen_port or 15006)),
        *("-u", str(privileges.identity(scene).user)),
        *("-m", str(scene.interception)),
        *("-i", said.include_outbound_ranges or ""),
        *("-x", said.exclude_outbound_ranges or ""),
        *("-b", said.include_inbound_ports or ""),
        *("-d", _once(*own, said.exclude_inbound_ports)),
    ]
    optional = {
        "-q": said.include_outbound_ports,
        "-o": said.exclude_outbound_ports,
        "-c": said.exclude_interfaces,
        "-k": said.virtual_interfaces,
    }
    for flag, text in optional.items():
        if text:
            found += [flag, text]
    if scene.settings.config.values.global_.native_nftables:
        found.append("--native-nftables")
    return found


def _effective(scene: Scene) -> Traffic:
    """Return what the pod says, and where it is silent the injector's values."""
    said, values = scene.wishes.traffic, scene.settings.config.values.global_.proxy
    return Traffic(
        include_outbound_ranges=_first(said.include_outbound_ranges, values.include_ip_ranges),
        exclude_outbound_ranges=_first(said.exclude_outbound_ranges, values.exclude_ip_ranges),
        include_inbound_ports=_first(said.include_inbound_ports, values.include_inbound_ports),
        exclude_inbound_ports=_first(said.exclude_inbound_ports, values.exclude_inbound_ports),
        include_outbound_ports=_first(said.include_outbound_ports, values.include_outbound_ports),
        exclude_outbound_ports=_first(said.exclude_outbound_ports, values.exclude_outbound_ports),
        exclude_interfaces=_first(said.exclude_interfaces, values.exclude_interfaces),
        virtual_interfaces=said.virtual_interfaces,
    )


def _once(*lists: str | None) -> str:
    """Join lists of ports, each port once: an injected pod that comes again names ours."""
    return ",".join(dict.fromkeys(one for text in lists if text for one in text.split(",")))


def _first(said: str | None, default: str) -> str:
    return default if said is None else said
