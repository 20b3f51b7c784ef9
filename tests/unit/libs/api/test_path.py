import pytest

from libs.api.path import MAX_SEGMENT, Path, join, parent, render


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (None, ""),
        ((None, "spec"), "spec"),
        ((((None, "spec"), "http"), 0), "spec.http[0]"),
        (((None, "labels"), "a.b/c"), "labels[a.b/c]"),
        (((None, "portLevelMtls"), "8080"), "portLevelMtls[8080]"),
        (((None, 3), "x-user"), "[3].x-user"),
        ((None, "é\ud800"), "[é?]"),
    ],
)
def test_paths_are_written_as_kubernetes_writes_them(path: Path, text: str) -> None:
    assert render(path) == text


def test_a_long_key_is_cut_off() -> None:
    assert len(render((None, "x" * 100_000))) <= MAX_SEGMENT + 3


def test_texts_are_joined_and_cut() -> None:
    assert join("", "items", 3) == "items[3]"
    assert join("items[3]", "kind") == "items[3].kind"
    assert [parent("a.b[0]"), parent("a.b"), parent("a"), parent("")] == ["a.b", "a", "", ""]
