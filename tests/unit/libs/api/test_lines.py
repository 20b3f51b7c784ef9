from libs.api.composer import MAX_DEPTH
from libs.api.lines import Lines


def test_broken_documents_have_lines_up_to_the_break() -> None:
    lines = Lines(b"a: 1\nb:\n  c: 2\n  d: [\n")
    assert [lines.find(path) for path in ("a", "b", "b.c", "b.d", "e")] == [0, 1, 2, 3, 0]


def test_the_walk_ends_where_the_composer_would_refuse() -> None:
    depth = MAX_DEPTH * 2
    lines = Lines("".join(f"{' ' * level}a:\n" for level in range(depth)).encode())
    assert lines.find(".".join(["a"] * 5)) == 4
    assert lines.find(".".join(["a"] * depth)) < depth - 1


def test_a_key_may_hold_anything() -> None:
    lines = Lines(b"labels:\n  'a.b/c': 1\n  'x]y': 2\n  '': 3\n")
    assert lines.find("labels[a.b/c]") == 1
    assert lines.find("labels[x]y]") == 0
    assert lines.find("labels[]") == 3
