"""Key sets: what of a JSON Web Key Set may reach a proxy: public keys of sufficient strength.

The private part of a key is taken out wherever it comes from. A secret that signs and verifies
alike (`oct`) is refused in a set that was fetched: whoever can read the address could sign.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from libs.model.tokens import NOBODY

MAX_KEYS = 256
_MIN_RSA_BITS = 2048
_NEEDED = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "oct": ("k",)}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


class KeySetError(ValueError):
    """There is no usable key in a text; the message says why."""


def public(text: str | bytes, *, secrets: bool = False) -> str:
    """Return the usable keys of a set, without private parts, and NOBODY's.

    `secrets` lets keys of kind `oct` pass, as a manifest may hold them.

    Raises:
        KeySetError: `text` is not a key set, or none of its keys can be used.

    """
    rows = _rows(text)
    found = [_cleaned(row, secrets=secrets) for row in rows if _usable(row, secrets=secrets)]
    if not found:
        message = "none of its keys can be used to verify tokens"
        raise KeySetError(message)
    keys = [msgspec.json.encode(row, order="deterministic").decode() for row in found]
    return f'{{"keys":[{",".join([*keys, NOBODY])}]}}'


def _rows(text: str | bytes) -> list[Mapping[str, Any]]:
    try:
        rows = msgspec.json.decode(text, type=dict[str, Any])["keys"]
    except (msgspec.DecodeError, KeyError, RecursionError, UnicodeError) as error:
        message = "not a JSON Web Key Set"
        raise KeySetError(message) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = "not a JSON Web Key Set: keys is not a list of keys"
        raise KeySetError(message)
    if len(rows) > MAX_KEYS:
        message = f"more than {MAX_KEYS} keys"
        raise KeySetError(message)
    return rows


def _usable(row: Mapping[str, Any], *, secrets: bool) -> bool:
    kind = row.get("kty")
    needed = _NEEDED.get(kind) if isinstance(kind, str) else None
    if needed is None or not all(isinstance(row.get(name), str) for name in needed):
        return False
    if kind == "oct":
        return secrets
    if row.get("use", "sig") != "sig":
        return False
    return kind != "RSA" or _is_strong(row)


def _is_strong(row: Mapping[str, Any]) -> bool:
    modulus, exponent = _number(row["n"]), _number(row["e"])
    return modulus.bit_length() >= _MIN_RSA_BITS and modulus % 2 == 1 and exponent >= 3


def _number(text: str) -> int:
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return 0


def _cleaned(row: Mapping[str, Any], *, secrets: bool) -> dict[str, Any]:
    hidden = _PRIVATE if secrets and row["kty"] == "oct" else _PRIVATE | {"k"}
    return {name: value for name, value in row.items() if name not in hidden}
