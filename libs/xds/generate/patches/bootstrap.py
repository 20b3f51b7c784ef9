"""The bootstrap, patched: what EnvoyFilters and the mesh lay over it, merged into one document.

Agents know the bootstrap itself, so only what is to be laid over it is made here, as JSON, because
agents do without Envoy's types. Envoy merges it when it starts; nothing can be taken away or put in
front of something, whatever operation a patch names.
"""

from collections.abc import Iterator

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import json_format

from libs.protos.bootstrap.v1.bootstrap_pb2 import Patches
from libs.xds.generate.patches.ledger import GATEWAY, INBOUND, OUTBOUND, Entry, Ledger
from libs.xds.types import BOOTSTRAP, NamedResource, resource

NAME = "bootstrap"
"""Of the only resource; there is none for a proxy whose bootstrap nobody patches."""


def apply(ledger: Ledger, made: Bootstrap | None) -> list[NamedResource]:
    """Return what is laid over the bootstrap, if anything is; patches act on what was `made`."""
    merged = made or Bootstrap()
    for entry in _entries(ledger):
        if entry.patch.operation != "MERGE":
            entry.fail("patch.operation: a bootstrap is only merged with")
        elif isinstance(entry.value, Bootstrap):
            ledger.hit(entry)
            entry.lay_over(merged)
    sources = ledger.touched()
    if not sources and made is None:
        return []
    text = json_format.MessageToJson(
        merged, preserving_proto_field_name=True, indent=None, sort_keys=True
    )
    body = Patches(json=text).SerializeToString(deterministic=True)
    return [resource(NAME, BOOTSTRAP, body=body, sources=sources)]


def _entries(ledger: Ledger) -> Iterator[Entry]:
    """Yield each patch once, whichever context it names: a proxy has one bootstrap."""
    seen: set[int] = set()
    for context in (GATEWAY,) if ledger.gateway else (INBOUND, OUTBOUND):
        for entry in ledger.of("BOOTSTRAP", context):
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry
