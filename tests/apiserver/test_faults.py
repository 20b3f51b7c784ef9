"""The recipes of tests/faults, short. What they do at full length `make faults` prints.

What a watch and a webhook bear is in test_kube_follow.py and test_webhook_certificates.py.
"""

import asyncio

import pytest

from tests.faults.__main__ import other
from tests.support.kube_apiserver import binary


@pytest.mark.timeout(660)
@pytest.mark.parametrize("recipe", ["outages", "leaders", "expiries", "reconnects", "poison"])
async def test_a_recipe_holds(recipe: str) -> None:
    binary("etcd")  # or skip
    async with asyncio.timeout(600):
        figures, code = await other(recipe, short=True)
    assert code == 0
    assert figures
    assert [figure for figure in figures if not figure.holds] == []
