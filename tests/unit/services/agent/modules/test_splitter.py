"""Whatever the pieces in which a stream comes, it goes on as it was, without what is held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.xds.types import field
from services.agent.modules import splitter
from services.agent.modules.splitter import TYPE_URL, Held, Piece, Splitter
from services.agent.streams.messages import MessageError, pack

OTHERS = (
    st.binary(max_size=200) | st.just(field(4, TYPE_URL + "x")) | st.just(field(4, TYPE_URL[:-1]))
)
ABOUT_EXTENSIONS = st.builds(lambda rest: field(4, TYPE_URL) + rest, st.binary(max_size=200))


@given(st.lists(OTHERS | ABOUT_EXTENSIONS, max_size=6), st.lists(st.integers(1, 90), min_size=1))
def test_messages_are_held_or_passed_on_whole(messages: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(pack, messages))
    found: list[Piece | Held] = []
    cutter = Splitter()
    turn = 0
    while stream:
        size = sizes[turn % len(sizes)]
        found += cutter.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    mine = [it for it in messages if it.startswith(field(4, TYPE_URL))]
    passed = b"".join(it.data for it in found if isinstance(it, Piece))
    assert [it.message for it in found if isinstance(it, Held)] == mine
    assert passed == b"".join(pack(it) for it in messages if it not in mine)
    assert sum(it.ends for it in found if isinstance(it, Piece)) == len(messages) - len(mine)


def test_a_message_that_would_take_too_much_memory_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splitter, "MAX_HELD", 100)
    with pytest.raises(MessageError):
        list(Splitter().feed(pack(field(4, TYPE_URL) + bytes(100))))
