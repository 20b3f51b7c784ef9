from base64 import b64encode

import pytest

from libs.api.resource import Metadata
from libs.api.secret import Secret

HIDDEN = b"-----BEGIN PRIVATE KEY-----"


def secret(**fields: object) -> Secret:
    return Secret(metadata=Metadata(name="web", namespace="shop"), **fields)  # type: ignore[arg-type]


def encoded(value: bytes) -> str:
    return b64encode(value).decode()


# proves: Secret data
def test_the_first_key_that_is_there_counts() -> None:
    found = secret(data={"key": encoded(b"old"), "tls.key": encoded(HIDDEN)})
    assert found.value("tls.key", "key") == HIDDEN
    assert found.value("ca.crt", "key") == b"old"
    assert found.value("ca.crt") == b""


# proves: Secret stringData
def test_text_is_read_as_it_is_written() -> None:
    assert secret(string_data={"tls.crt": "x"}).value("tls.crt") == b"x"


def test_what_is_no_base64_is_nothing() -> None:
    assert secret(data={"tls.key": "%%%"}).value("tls.key") == b""


# proves: Secret type
@pytest.mark.parametrize("kind", ["helm.sh/release.v1", "kubernetes.io/service-account-token"])
def test_secrets_of_others_are_never_read(kind: str) -> None:
    data = {"tls.key": encoded(HIDDEN)}
    assert secret(type=kind, data=data).value("tls.key") == b""
    assert secret(type="kubernetes.io/tls", data=data).value("tls.key") == HIDDEN


def test_contents_show_in_nothing_that_is_printed() -> None:
    found = secret(data={"tls.key": encoded(HIDDEN)}, string_data={"key": HIDDEN.decode()})
    for shown in (repr(found), str(found), f"{found!r}", repr([found]), repr({"a": found})):
        assert "PRIVATE" not in shown
        assert encoded(HIDDEN) not in shown
