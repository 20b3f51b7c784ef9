"""Rules about sets of public keys that are written into a resource: JWKS, or one key alone."""

import re
from collections.abc import Mapping

import msgspec

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "oct": ("k",),
}
"""What a key of each type consists of."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_PRIVATE = "d"
_SYMMETRIC = "oct"


def check_key_set(text: str, path: Path, report: Report) -> None:
    """Report what is no set of keys, and warn of private keys: everyone can read this one."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        report.error(path, reasons.INVALID_KEY_SET, "is not JSON")
        return
    if not isinstance(found, dict):
        report.error(path, reasons.INVALID_KEY_SET, 'must be of the form {"keys": […]}')
        return
    keys = found.get("keys", [found])
    if not isinstance(keys, list):
        report.error(path, reasons.INVALID_KEY_SET, "keys must be a list")
        return
    for index, key in enumerate(keys):
        if wrong := _wrong_key(key):
            report.error(path, reasons.INVALID_KEY_SET, f"key {index} {wrong}")
        elif _PRIVATE in key or key["kty"] == _SYMMETRIC:
            text = f"key {index} is private, and everyone who reads this can sign with it"
            report.warning(path, reasons.PRIVATE_KEY, text)


def _wrong_key(key: object) -> str:
    if not isinstance(key, dict):
        return "is not a mapping"
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in REQUIRED:
        return f"has no type (kty) of {', '.join(REQUIRED)}"
    missing = [name for name in REQUIRED[kind] if not isinstance(key.get(name), str)]
    if missing:
        return f"of type {kind} needs {', '.join(missing)}"
    numbers = [name for name in REQUIRED[kind] if name != "crv"]
    wrong = [name for name in numbers if not _is_base64(key[name])]
    return f"has {', '.join(wrong)} that is not base64" if wrong else ""


def _is_base64(text: str) -> bool:
    return _BASE64.fullmatch(text) is not None and len(text.rstrip("=")) % 4 != 1
