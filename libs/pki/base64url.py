"""base64url without padding, as JSON Web Tokens use it; strict where Python is lenient."""

import base64
import re

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(raw: bytes) -> str:
    """Return `raw` as text without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of `text`.

    Raises:
        ValueError: a character, the length or the last bits are not what `encode` would write.

    """
    if not _ALPHABET.fullmatch(text):
        message = "not base64url"
        raise ValueError(message)
    whole = len(text) % 4 != 1  # one letter alone holds less than a byte
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if whole else b""
    if encode(raw) != text:  # several spellings of one token would defeat comparing tokens
        message = "not canonical base64url"
        raise ValueError(message)
    return raw
