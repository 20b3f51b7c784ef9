"""When a machine's certificate speaks instead of its token."""

import base64
import math
from pathlib import Path

import pytest

from services.agent.provisioned import Provisioned, expiry

NOW = 1_000_000.0


def token(claims: str) -> str:
    body = base64.urlsafe_b64encode(claims.encode()).rstrip(b"=").decode()
    return f"e30.{body}.signature"


def provisioned(folder: Path) -> Provisioned:
    names = ("cert-chain.pem", "key.pem", "token")
    chain, key, token_file = (str(folder / name) for name in names)
    return Provisioned("istiod:15013", "istiod", chain=chain, key=key, token_file=token_file)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (token('{"exp": 1000060, "sub": "x"}'), 1_000_060.0),
        (token("{}"), math.inf),
        (token("not json"), math.inf),
        (token('{"exp": "soon"}'), math.inf),
        ("opaque", math.inf),
        (" \n", 0.0),
    ],
)
def test_a_token_says_itself_when_it_expires(tmp_path: Path, text: str, moment: float) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    assert expiry(path) == moment


def test_it_speaks_only_when_no_token_is_good(tmp_path: Path) -> None:
    found = provisioned(tmp_path)
    assert not found.wanted(NOW)  # there is neither
    (tmp_path / "cert-chain.pem").touch()
    assert not found.wanted(NOW)
    (tmp_path / "key.pem").touch()
    assert found.wanted(NOW)
    (tmp_path / "token").write_text(token('{"exp": 1000060}'))
    assert not found.wanted(NOW)
    assert found.wanted(NOW + 60)
    assert found.wanted(NOW + 55)  # it would expire on its way
