"""Every row of the tables in this folder, asked of real Envoys: docs/reference/behaviour.md."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.behaviour import run
from tests.support.behaviour.fleet import Fleet, sailing
from tests.support.behaviour.tables import Feature, Row, Table, features

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROWS = [
    pytest.param(feature, table, row, id=f"{name}: {table.name}: {row.what}")
    for name, feature in features()
    for table in feature.tables
    for row in table.rows
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with sailing(tmp_path_factory.mktemp("fleet")) as found:
        yield found


@pytest.mark.parametrize(("feature", "table", "row"), ROWS)
async def test_behaviour(fleet: Fleet, feature: Feature, table: Table, row: Row) -> None:
    await fleet.give(feature, table)
    differences = await run.verdict(fleet, row)
    assert not differences, "; ".join(differences)
