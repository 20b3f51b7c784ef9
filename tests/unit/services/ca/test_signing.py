import asyncio

import pytest

from libs.pki import csr
from libs.pki.errors import CsrError
from libs.pki.template import Lifetimes
from services.ca.errors import LimitedError
from services.ca.signing import Rules, Signer
from tests.support.clock import VirtualClock
from tests.support.pki import BOB, NOW, root

ROOT = root()
REQUEST = csr.make_with_key(BOB)[1]


def signer(queue: int = 10) -> Signer:
    rules = Rules(Lifetimes(), "istio-system")
    return Signer(lambda: ROOT, rules, clock=VirtualClock(start=NOW), queue=queue)


async def test_the_queue_is_bounded_and_empties_again() -> None:
    with signer(queue=3) as by:
        answers = await asyncio.gather(
            *(by.sign(BOB, REQUEST) for _ in range(5)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, LimitedError)]
        assert [error.limit for error in refused] == ["queue", "queue"]
        assert len(await by.sign(BOB, REQUEST)) == 2


async def test_a_refused_request_frees_its_place() -> None:
    with signer(queue=1) as by:
        for _ in range(3):
            with pytest.raises(CsrError):
                await by.sign(BOB, b"nonsense")
        assert len(await by.sign(BOB, REQUEST)) == 2
