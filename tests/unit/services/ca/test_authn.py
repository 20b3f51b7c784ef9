"""From what the API server says of a token to a caller."""

from typing import cast

import pytest
from prometheus_client import REGISTRY

from libs.kube.tokens import Bearer, Reviewer
from libs.pki.errors import TokenError
from services.ca import authn

NAME = "citadel_server_id_extraction_err_count"


class Server:
    """Says one thing of every token."""

    def __init__(self, namespace: str) -> None:
        self._bearer = Bearer(namespace, "web", "uid", "web-1", "pod-uid")

    async def review(self, token: str) -> Bearer:
        del token
        return self._bearer


def _count() -> float:
    return REGISTRY.get_sample_value(NAME) or 0.0


async def test_an_account_that_is_no_identity_is_refused_and_counted() -> None:
    before = _count()
    bad = authn.by_review(cast("Reviewer", Server("a/b")), trust_domain="cluster.local")
    with pytest.raises(TokenError):
        await bad("token")
    assert _count() == before + 1


async def test_an_account_is_an_identity() -> None:
    good = authn.by_review(cast("Reviewer", Server("shop")), trust_domain="cluster.local")
    before = _count()
    assert str((await good("token")).identity) == "spiffe://cluster.local/ns/shop/sa/web"
    assert _count() == before
