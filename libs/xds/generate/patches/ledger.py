"""The ledger: which patches there are for a kind of thing, and what became of each."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from libs.model.ids import Ref
from libs.model.patches import Patch, PatchSet
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope
from libs.xds.generate.patches import values
from libs.xds.generate.patches.merge import merge
from libs.xds.generate.patches.values import Misfit
from libs.xds.types import BOOTSTRAP, CLUSTER, EXTENSION, LISTENER, ROUTE, Outcome

M = TypeVar("M", bound=Message)

ANY = "ANY"
INBOUND = "SIDECAR_INBOUND"
OUTBOUND = "SIDECAR_OUTBOUND"
GATEWAY = "GATEWAY"

_ROUTES = frozenset({"ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"})
_TARGETS = {
    CLUSTER: frozenset({"CLUSTER"}),
    LISTENER: frozenset(
        {"LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"}
    )
    | _ROUTES,  # those of inbound listeners stand in the listener
    ROUTE: _ROUTES,
    EXTENSION: frozenset({"EXTENSION_CONFIG"}),
    BOOTSTRAP: frozenset({"BOOTSTRAP"}),
}


class Entry:
    """One patch, ready to be applied: its value is read, and its hits are counted."""

    __slots__ = ("error", "hits", "patch", "ref", "value")

    def __init__(self, ref: Ref, patch: Patch) -> None:
        self.ref = ref
        self.patch = patch
        self.hits = 0
        self.error = ""
        self.value: Message | None = None
        try:
            self.value, self.error = values.read(patch.target, patch.value)
        except Misfit as misfit:
            self.error = str(misfit)

    @property
    def usable(self) -> bool:
        """Whether there is something to apply."""
        return self.value is not None or self.patch.operation == "REMOVE"

    def copy(self, kind: type[M]) -> M | None:
        """Return the value for a place of its own, or None if it is no `kind`."""
        if not isinstance(self.value, kind):
            return None
        copied = kind()
        copied.CopyFrom(self.value)
        return copied

    def lay_over(self, message: Message) -> None:
        """Merge the value into `message`."""
        if self.value is not None:
            merge(message, self.value, replace_lists=self.patch.operation != "MERGE")

    def fail(self, why: str) -> None:
        """Remember the first reason for which the patch could not be applied somewhere."""
        self.error = self.error or why


class Ledger:
    """All patches for one proxy."""

    def __init__(self, sets: Sequence[PatchSet], outbound: OutboundScope) -> None:
        self.gateway = outbound.type is ProxyType.ROUTER
        # Of a gateway people know the ports of its servers, which need not be those it listens on.
        self._ports = {
            listener.port: frozenset(bound.server.number for bound in listener.servers)
            for listener in outbound.gateways
        }
        self._entries: dict[str, list[Entry]] = {}
        for one in sets:
            for patch in one.patches:
                self._entries.setdefault(patch.target, []).append(Entry(one.ref, patch))
        self._touched: dict[Ref, None] = {}

    def of(self, target: str, context: str, *operations: str) -> Iterator[Entry]:
        """Yield the patches of a target for a context, in order; any operation if none is named."""
        for entry in self._entries.get(target, ()):
            patch = entry.patch
            fits = patch.context in {ANY, context}
            if fits and entry.usable and (not operations or patch.operation in operations):
                yield entry

    def any(self, *targets: str) -> bool:
        """Tell whether there is a patch for one of `targets`."""
        return any(target in self._entries for target in targets)

    def hit(self, entry: Entry) -> None:
        """Count a patch, and remember whose it is for the resource that is being patched."""
        entry.hits += 1
        self._touched[entry.ref] = None

    def touched(self) -> tuple[Ref, ...]:
        """Return whose patches were counted since the last call."""
        found = tuple(self._touched)
        self._touched.clear()
        return found

    def is_port(self, asked: int, port: int) -> bool:
        """Tell whether a condition on a port, 0 for none, holds for `port` of this proxy."""
        return asked in {0, port} or asked in self._ports.get(port, ())

    def direction(self, *, inbound: bool) -> str:
        """Return the context of something inbound or outbound."""
        if self.gateway:
            return GATEWAY
        return INBOUND if inbound else OUTBOUND

    def outcomes(self, type_url: str) -> tuple[Outcome, ...]:
        """Return what became of the patches that can act on resources of a type."""
        return tuple(
            Outcome(entry.ref, entry.patch.index, entry.hits, entry.error)
            for target in sorted(_TARGETS[type_url])
            for entry in self._entries.get(target, ())
        )
