import pytest

from libs.kube.errors import GoneError, MalformedError
from libs.kube.watch import EventType, _event, _Lines


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    text = b'{"a": 1}\n\n{"b": "two"}\n{"c'
    lines = _Lines()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert [line for chunk in chunks for line in lines.add(chunk)] == [b'{"a": 1}', b'{"b": "two"}']


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.kube.watch.MAX_EVENT_BYTES", 10)
    lines = _Lines()
    assert list(lines.add(b"x" * 10)) == []
    with pytest.raises(MalformedError):
        list(lines.add(b"x"))


def test_an_event_has_a_name_a_version_and_bytes() -> None:
    metadata = b'{"metadata": {"name": "a", "namespace": "b", "resourceVersion": "7"}, "x": [1]}'
    found = _event(b'{"type": "ADDED", "object": ' + metadata + b"}")
    assert found.type is EventType.ADDED
    assert (found.item.name.namespace, found.item.name.name, found.item.version) == ("b", "a", "7")
    assert bytes(found.item.raw) == metadata


def test_an_error_in_the_stream_is_the_error_it_says() -> None:
    with pytest.raises(GoneError, match="too old"):
        _event(b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}')


@pytest.mark.parametrize(
    "line",
    [b"", b"<html>", b"[]", b'{"type": "ADDED", "object": 7}', b'{"type": "NEW", "object": {}}'],
)
def test_what_is_no_event_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError):
        _event(line)
