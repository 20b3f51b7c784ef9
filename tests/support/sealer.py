"""A sealer that authenticates and does not encrypt: for tests of what is done with sealed bytes."""

import hashlib
import hmac

TAG_BYTES = 32


class TaggingSealer:
    def __init__(self, secret: bytes = b"test") -> None:
        self._secret = secret

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        return self._tag(plain, associated) + plain

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        tag, plain = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
        return plain if hmac.compare_digest(tag, self._tag(plain, associated)) else None

    def _tag(self, plain: bytes, associated: bytes) -> bytes:
        content = len(associated).to_bytes(4) + associated + plain
        return hmac.new(self._secret, content, hashlib.sha256).digest()


class TrustingSealer(TaggingSealer):
    """Believes everything: the negative control of tests that must see a poisoned value."""

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        return sealed[TAG_BYTES:]
