"""Where redirects lead, and how targets of requests are written."""

import pytest

from services.agent.http.client import HttpError, Request
from services.agent.http.redirects import next_request, target

ASKED = Request(host="10.0.0.7", port=8080, target="/a/b?c=d", headers=(("Host", "web"),))


def _to(location: str, status: int = 302, asked: Request = ASKED) -> tuple[object, ...] | None:
    found = next_request(asked, status, {"location": location})
    return found and (found.port, found.target, found.tls, found.headers)


def test_relative_locations_keep_the_host_header() -> None:
    own = (("Host", "web"),)
    assert _to("/x") == (8080, "/x", False, own)
    assert _to("x?y=z") == (8080, "/a/x?y=z", False, own)
    assert _to("?y=z#part") == (8080, "/a/b?y=z", False, own)


def test_absolute_ones_stay_on_the_host_at_any_port_and_scheme() -> None:
    assert _to("http://10.0.0.7/x") == (80, "/x", False, ())
    assert _to("https://10.0.0.7:9443/x") == (9443, "/x", True, ())
    assert _to("https://10.0.0.7/") == (443, "/", True, ())
    six = Request(host="fd00::7", port=8080, target="/")
    assert _to("http://[fd00::7]:81/x", asked=six) == (81, "/x", False, ())


@pytest.mark.parametrize(
    "location", ["", "http://elsewhere/x", "//elsewhere/x", "ftp://10.0.0.7/x", "mailto:a"]
)
def test_elsewhere_is_not_asked(location: str) -> None:
    assert _to(location) is None


@pytest.mark.parametrize("status", [200, 300, 304, 500])
def test_other_answers_are_the_last(status: int) -> None:
    assert _to("/x", status) is None


@pytest.mark.parametrize("location", ["http://[", "http://10.0.0.7:99999/"])
def test_what_is_no_url_is_an_error(location: str) -> None:
    with pytest.raises(HttpError, match="no URL"):
        _to(location)


def test_targets_are_escaped_once() -> None:
    assert target("live") == "/live"
    assert target("/a b/é?q=%20&r=%zz#x") == "/a%20b/%C3%A9?q=%20&r=%25zz"
    assert target("/a\r\nX: y") == "/a%0D%0AX:%20y"
