"""Resources: what the containers of a proxy may use.

A scheduler counts the larger of init containers and the rest, so the init container gets what the
proxy gets: it costs nothing more.
"""

from collections.abc import Mapping
from typing import Any

from libs.inject.scene import Scene

_DEFAULTS = {
    "limits": {"cpu": "2000m", "memory": "1024Mi"},
    "requests": {"cpu": "100m", "memory": "128Mi"},
}


def resources(scene: Scene) -> Mapping[str, Any]:
    """Return requests and limits; one annotation of the pod takes the place of all defaults."""
    wishes = scene.wishes
    found = {"requests": dict(wishes.requests), "limits": dict(wishes.limits)}
    said = {key: value for key, value in found.items() if value}
    return said or scene.settings.config.values.global_.proxy.resources or _DEFAULTS
