import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.api.validate.formats import wrong_format


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "100%%",
        "%HOSTNAME%",
        "a %HOSTNAME% b %PROTOCOL%",
        "%REQ(x-user)%",
        "%REQ(x?y)%",
        '%DYNAMIC_METADATA(["a", "b"])%',
        '%A( [ "a" , "b" ] ) %',
        '%A(["a\\"b"])%',
    ],
)
def test_right(text: str) -> None:
    assert wrong_format(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "%",
        "a%",
        "%%%",
        "%A",
        "%A(",
        "%A(b",
        "%A(b)",
        "%A(b)c%",
        "%A([b])%",
        '%A(["a" "b"])%',
        '%A(["a"]b)%',
        '%A(["a\\',
    ],
)
def test_wrong(text: str) -> None:
    assert wrong_format(text)


@given(st.text(alphabet='%()[]",\\ aA'))
def test_no_text_makes_it_raise(text: str) -> None:
    assert isinstance(wrong_format(text), str)
