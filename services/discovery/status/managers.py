"""Managers: who else writes a field of a status, as the API server's `managedFields` say."""

import msgspec
from msgspec import Raw, Struct

NAMED = 3
"""Others who write a status, that the log names at most."""


class Entry(Struct, frozen=True, rename="camel"):
    """What one manager has written by one subresource."""

    manager: str = ""
    subresource: str = ""
    fields_v1: Raw = msgspec.field(default=Raw(b"{}"), name="fieldsV1")


Entries = tuple[Entry, ...]


def writers(entries: Entries | None, field: str) -> list[str]:
    """Return who has written a field of the status, such as `f:ingress`."""
    mark = f'"{field}"'.encode()
    return [
        it.manager
        for it in entries or ()
        if it.subresource == "status" and mark in bytes(it.fields_v1)
    ]


def others(found: list[str], own: str) -> str:
    """Return who of these is not ourselves, for the log."""
    return ", ".join([it for it in found if it != own][:NAMED])
