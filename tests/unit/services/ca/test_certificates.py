"""Bodies of requests, before anything in them is believed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protos.istio.ca.v1.ca_pb2 import IstioCertificateRequest
from services.ca.certificates import _decoded, _impersonated
from services.ca.errors import MalformedError, NotAllowedError

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def body(wishes: dict[str, Any]) -> bytes:
    request = IstioCertificateRequest(csr="x")
    request.metadata.update(wishes)
    return request.SerializeToString()


@given(st.binary(max_size=500))
def test_any_body_is_a_request_or_refused(raw: bytes) -> None:
    try:
        decoded = _decoded(raw)
    except (MalformedError, NotAllowedError):
        return
    assert isinstance(decoded, IstioCertificateRequest)


@given(VALUES)
def test_only_a_text_may_stand_for_another_identity(value: object) -> None:
    request = _decoded(body({"ImpersonatedIdentity": value}))
    if value is None or isinstance(value, str):
        assert _impersonated(request) == (value or "")
        return
    with pytest.raises(NotAllowedError):
        _impersonated(request)


@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=3))
def test_other_metadata_is_ignored(wishes: dict[str, Any]) -> None:
    assert _decoded(body(wishes)).csr == "x"
