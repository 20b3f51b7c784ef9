"""Extension configurations that patches add, for filters that fetch theirs by name."""

from collections.abc import Iterable

from libs.xds.generate.patches import resources
from libs.xds.generate.patches.ledger import GATEWAY, INBOUND, OUTBOUND, Entry, Ledger
from libs.xds.types import EXTENSION, NamedResource


def apply(ledger: Ledger, made: Iterable[NamedResource]) -> list[NamedResource]:
    """Return what was made and what patches add."""
    found = list(made)
    entries: dict[int, Entry] = {}
    for context in (GATEWAY,) if ledger.gateway else (INBOUND, OUTBOUND):
        for entry in ledger.of("EXTENSION_CONFIG", context, "ADD"):
            entries[id(entry)] = entry
    names = (one.name for one in found)
    return found + resources.added(ledger, entries.values(), type_url=EXTENSION, taken=names)
