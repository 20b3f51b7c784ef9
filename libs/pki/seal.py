"""Seals: bytes that are kept where others can write, and recognised when they come back.

AES-256-GCM with the place as associated data: a value moved to another key, scope or schema does
not open. Keys are derived from a secret; while it is changed two are accepted, the first one seals.
Nonces are random: renew the secret before four thousand million values have been sealed with it.
Where sealed values are kept, and what is done when one does not open, is not decided here.
"""

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.pki.errors import SealError

MIN_SECRET_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES + _TAG_BYTES


class Sealer:
    """Seals with the first secret and opens with any of them. Never prints them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Take the secrets, the current one first.

        Raises:
            SealError: there is none, or one is too short to be a secret.

        """
        if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            message = f"sealing needs secrets of at least {MIN_SECRET_BYTES} bytes"
            raise SealError(message)
        derived = [_derive(secret) for secret in secrets]
        self._current = _key_id(derived[0])
        self._keys = {_key_id(key): AESGCM(key) for key in derived}

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return `content` encrypted and bound to `place`; `OVERHEAD_BYTES` longer."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._current
        return head + nonce + self._keys[self._current].encrypt(nonce, content, head + place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed for `place`.

        Raises:
            SealError: it was changed, or sealed for another place or by somebody else.

        """
        head = sealed[: 1 + _ID_BYTES]
        key = self._keys.get(head[1:]) if head[:1] == _VERSION else None
        if key is None or len(sealed) < OVERHEAD_BYTES:
            message = "not sealed with a key that is in use"
            raise SealError(message)
        body = sealed[len(head) :]
        try:
            return key.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], head + place)
        except InvalidTag as error:
            message = "changed, or sealed for another place"
            raise SealError(message) from error


class CacheSealer:
    """A seal for values that may be lost: one that does not open is as good as none."""

    def __init__(self, secret: bytes) -> None:
        """Take the secret; raises as `Sealer`."""
        self._sealer = Sealer([secret])

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Return `plain` sealed for `associated`."""
        return self._sealer.seal(plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        """Return what was sealed for `associated`, or None."""
        try:
            return self._sealer.open(sealed, associated)
        except SealError:
            return None


def _derive(secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"seine seal v1").derive(secret)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"seine seal id" + key).digest()[:_ID_BYTES]
