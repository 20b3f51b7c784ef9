"""Gateway kinds: says that the cluster defines kinds of the Gateway API which nothing follows.

People who apply a Gateway or an HTTPRoute wait for an effect. That there will be none is a problem
for as long as the definitions are there, and a line in the log whenever they come or go.
"""

import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from libs.api import gateway_api
from libs.api.problem import Problem
from libs.kube.follow import Change

logger = logging.getLogger(__name__)

MAX_DEFINITIONS = 100
"""There are two dozen; nobody else may use the groups."""


class _Metadata(Struct):
    annotations: dict[str, str] | None = None


class _Definition(Struct):
    metadata: _Metadata


_DECODER = msgspec.json.Decoder(_Definition)


class GatewayKinds:
    """Takes note of CRDs. `problems` is what there is to say of them."""

    def __init__(self) -> None:
        self._bundles: dict[str, str] = {}

    def take(self, changes: Sequence[Change]) -> bool:
        """Take note of CRDs, of which only names and annotations are read; True if it matters."""
        before = dict(self._bundles)
        for change in changes:
            name = change.name.name
            if change.raw is None:
                self._bundles.pop(name, None)
            elif gateway_api.is_unfollowed(name) and len(self._bundles) < MAX_DEFINITIONS:
                annotations = _DECODER.decode(change.raw).metadata.annotations or {}
                self._bundles[name] = annotations.get(gateway_api.BUNDLE, "")
        if before == self._bundles:
            return False
        self._log()
        return True

    @property
    def problems(self) -> tuple[Problem, ...]:
        """That these kinds have no effect, and which of them are too old."""
        old = (gateway_api.outdated(*it) for it in sorted(self._bundles.items()))
        return (*gateway_api.unfollowed(self._bundles), *(one for found in old for one in found))

    def _log(self) -> None:
        names = sorted(self._bundles)
        if names:
            logger.warning("kinds of the gateway api are not followed", extra={"kinds": names})
        else:
            logger.info("no kinds of the gateway api are left")
