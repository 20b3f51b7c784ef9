import pytest

from libs.api.validate.urls import wrong_reference, wrong_url

WEB = frozenset({"http", "https"})
MODULES = frozenset({"http", "https", "oci", "file"})


@pytest.mark.parametrize(
    "good",
    [
        "https://a/b?c=%20#d",
        "HTTP://a",
        "https://user:word@a:443/",
        "https://[::1]:8443/x",
        "http://a:/x",
    ],
)
def test_full_urls(good: str) -> None:
    assert wrong_url(good, WEB) == ""


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a",
        "//a",
        "ftp://a",
        "https:a",
        "https://a b",
        "https://a/%zz",
        "https://a:b/",
        "https://a:65536/",
        "https://[::1",
        "https://[a]/",
        "https://a\n",
        "https://a/b c",
    ],
)
def test_what_is_none(bad: str) -> None:
    assert wrong_url(bad, WEB)


@pytest.mark.parametrize(
    "good", ["oci://a/b:1", "a.b/c:1", "a", "file:///a/b", "/a", "https://a", "1.2.3.4:80/a"]
)
def test_references(good: str) -> None:
    assert wrong_reference(good, MODULES) == ""


@pytest.mark.parametrize("bad", ["ftp://a", "localhost:80/a", "a b", "http://[", "%zz", "a:b/c"])
def test_what_is_no_reference(bad: str) -> None:
    assert wrong_reference(bad, MODULES)
