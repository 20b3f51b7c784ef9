"""Readers of pages: where they are, and which token they show."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from libs.runtime import reader


@pytest.mark.parametrize(
    ("remote", "local"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False)),
        *(("", False), (None, False), ("localhost", False), ("::ffff:10.0.0.1", False)),
    ],
)
def test_only_loopback_is_this_machine(remote: str | None, *, local: bool) -> None:
    assert reader.is_loopback(remote) is local


def test_one_bearer_token_counts() -> None:
    headers = CIMultiDict([("Authorization", "Bearer abc")])
    assert reader.bearer(make_mocked_request("GET", "/", headers=headers)) == "abc"


@pytest.mark.parametrize("shown", [(), ("Basic abc",), ("bearer",), ("Bearer a", "Bearer b")])
def test_anything_else_is_no_token(shown: tuple[str, ...]) -> None:
    headers = CIMultiDict([("Authorization", one) for one in shown])
    with pytest.raises(web.HTTPUnauthorized):
        reader.bearer(make_mocked_request("GET", "/", headers=headers))
