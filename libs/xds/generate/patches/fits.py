"""Fits: what Envoy's types say against a patch's value before anybody applies it.

Admission and `seinectl` ask. A patch that got past them is judged where it is applied, and then
what fits of it is applied: `libs.xds.generate.patches.ledger`.
"""

import re
from collections.abc import Iterator

import msgspec
from google.protobuf.message import Message

from libs.xds.generate.patches.values import Misfit, message_type, read, type_urls

_OLD = re.compile(r"\.v2(?:alpha\d*)?\.")
_ENUM = "Invalid enum value"


def fits(target: str, value: bytes) -> tuple[str, str]:
    """Return why a value (JSON) is refused, and what of it has no effect; two empty texts are good.

    Types that nobody here knows may be those of another build of Envoy, so they are not refused.
    """
    named = sorted(type_urls(msgspec.json.decode(value)))
    for url in named:
        if _OLD.search(url):
            return f"{url[:200]}: Envoy takes types of v3 only", ""
    if unknown := [url for url in named if message_type(url) is None]:
        return "", f"nothing is known of {unknown[0][:200]}, so the patch is left out"
    try:
        message, left_out = read(target, value)
    except Misfit as misfit:
        return str(misfit), ""
    if _ENUM in left_out:
        return left_out, ""
    return "", left_out or _bare(message)


def _bare(message: Message | None) -> str:
    names = list(_untyped(message)) if message is not None else []
    return f"nothing to Envoy without typed_config: {', '.join(map(repr, names))}" if names else ""


def _untyped(message: Message) -> Iterator[str]:
    """Yield the names of extensions that do not say what they are."""
    known = message.DESCRIPTOR.fields_by_name
    if "typed_config" in known:
        ways = (way for way in ("typed_config", "config_discovery") if way in known)
        if not any(message.HasField(way) for way in ways):
            yield getattr(message, "name", "")[:100]
    for field, value in message.ListFields():
        if field.message_type is not None and isinstance(value, Message):
            yield from _untyped(value)
