import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.agent.streams.messages import Counter, MessageError, Unpacker, pack


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 500)))
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(map(pack, messages))
    unpacker, counter = Unpacker(100), Counter()
    got: list[bytes] = []
    count = 0
    for piece in pieces(data, cuts):
        got += unpacker.feed(piece)
        count += counter.feed(piece)
    assert got == messages
    assert count == len(messages)


def test_a_message_that_is_too_long_or_compressed_is_refused() -> None:
    with pytest.raises(MessageError):
        list(Unpacker(10).feed(pack(b"x" * 11)))
    with pytest.raises(MessageError):
        list(Unpacker(10).feed(b"\1" + pack(b"x")[1:]))
