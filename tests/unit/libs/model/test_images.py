"""Names of images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.model.images import Image, parse_image

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("oci://r.example.com/a/b:v1", Image("r.example.com", "a/b", "v1")),
        ("r.example.com:5000/a", Image("r.example.com:5000", "a", "latest")),
        ("localhost/a:x", Image("localhost", "a", "x")),
        ("[::1]:5000/a:x", Image("[::1]:5000", "a", "x")),
        ("127.0.0.1:5000/a@" + DIGEST, Image("127.0.0.1:5000", "a", "latest", DIGEST)),
        ("r.io/a:v1@" + DIGEST, Image("r.io", "a", "v1", DIGEST)),
        ("r.example.com/some/a__b", Image("r.example.com", "some/a__b", "latest")),
        ("r.example.com/a.b", Image("r.example.com", "a.b", "latest")),
    ],
)
def test_names(text: str, image: Image) -> None:
    assert parse_image(text) == image


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://",
        "r.example.com/",
        "r.example.com/A",
        "r.example.com/a b",
        "r.example.com/../a",
        "r.example.com/a?b",
        "r.example.com/a:",
        "r.example.com/a:v 1",
        "r.example.com/a@md5:ab",
        "r.example.com/a@sha256:AB",
        "user@r.example.com/a",
        "r.example.com:port/a",
        "http://r.example.com/a",
        "r.example.com/" + "a" * 300,
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_image(text)


@pytest.mark.parametrize("text", ["a", "a:v1", "oci://a/b", "library/a@" + DIGEST, "a.b", "a.b:80"])
def test_a_name_without_a_registry_is_completed_by_nobody(text: str) -> None:
    with pytest.raises(ValueError, match=r"name its registry: write the host before it"):
        parse_image(text)


def test_what_is_expected_to_move() -> None:
    assert parse_image("r.io/a").moves
    assert parse_image("r.io/a:latest").moves
    assert not parse_image("r.io/a:v1").moves
    assert not parse_image("r.io/a@" + DIGEST).moves


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_whatever_is_written_a_path_is_safe_to_ask_for(text: str) -> None:
    try:
        found = parse_image(text)
    except ValueError:
        return
    path = f"/v2/{found.repository}/manifests/{found.reference}"
    assert path.isprintable()
    assert not {" ", "?", "#", "%", "\\"} & set(path)
    assert "/../" not in path
