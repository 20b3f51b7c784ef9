"""Credentials of streams; what tokens are believed is tested with `libs.pki`."""

from pathlib import Path

import pytest

from libs.model.ids import SpiffeId
from libs.pki import files, jwk, keys, tokens
from libs.pki.errors import PkiError, TokenError
from services.config_push.authn import Prove, TokenKeys, TokenRules, by_keys
from tests.support.clock import VirtualClock
from tests.support.tokens import honest, refused

WEB = SpiffeId("cluster.local", "shop", "web")
NOW = 1_700_000_000.0


def _prove(path: Path) -> Prove:
    rules = TokenRules(TokenKeys(path), tokens.ISSUER, tokens.AUDIENCE)
    return by_keys(rules, trust_domain="cluster.local", clock=VirtualClock(NOW))


def _publish(path: Path, key: keys.PrivateKey) -> None:
    files.write_public(path, jwk.document(key.public_key()))


async def test_an_honest_token_proves_its_identity_and_a_bad_one_nothing(tmp_path: Path) -> None:
    key = keys.generate()
    path = tmp_path / "keys.json"
    _publish(path, key)
    prove = _prove(path)

    assert await prove(honest(WEB, key, NOW)) == WEB
    for token in refused(WEB, key, NOW).values():
        with pytest.raises(TokenError):
            await prove(token)


async def test_new_keys_are_noticed_and_broken_ones_change_nothing(tmp_path: Path) -> None:
    old, new = keys.generate(), keys.generate()
    path = tmp_path / "keys.json"
    _publish(path, old)
    prove = _prove(path)
    with pytest.raises(TokenError):
        await prove(honest(WEB, new, NOW))

    path.write_text("neither JWKS nor PEM, and of another length")
    assert await prove(honest(WEB, old, NOW)) == WEB
    path.unlink()
    assert await prove(honest(WEB, old, NOW)) == WEB
    _publish(path, new)
    assert await prove(honest(WEB, new, NOW)) == WEB


def test_without_keys_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="keys"):
        TokenKeys(tmp_path / "keys.json")
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(PkiError):
        TokenKeys(tmp_path / "keys.json")
