"""Options of all tests: how many random examples they try; and what waits when one hangs."""

import asyncio
import gc
import inspect
import io
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support import examples

_TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--explore",
        type=int,
        default=1,
        metavar="N",
        help="try N times as many random examples, other ones each time",
    )


def pytest_configure(config: pytest.Config) -> None:
    fixed = os.environ.get("CI") == "true"  # noqa: TID251 - set by whoever runs the tests
    examples.configure(config.getoption("--explore"), fixed=fixed)


_REAL = {"apiserver", "demo", "envoy", "netns", "protocol"}
_REAL_SECONDS = 400
"""For a test with real programs: what they need to start on a busy machine counts, too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_real(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_REAL_SECONDS))


def _is_real(item: pytest.Item) -> bool:
    place = item.path.relative_to(_TESTS).parts if item.path.is_relative_to(_TESTS) else ()
    return bool(place) and place[0] in _REAL


def pytest_collection_finish() -> None:
    """Leave out of later collections what all tests share: they take half a millisecond then."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _blamed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Find what an asynchronous test has not closed while it is still this test's fault."""
    yield
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a test that took too long what each of its tasks waits for."""
    report = yield
    if call.excinfo is not None and _is_late(call.excinfo.value):
        text = io.StringIO()
        for task in gc.get_objects():
            if isinstance(task, asyncio.Task) and not task.done():
                task.print_stack(file=text)
        report.sections.append(("Tasks that wait", text.getvalue()))
    return report


def _is_late(error: BaseException) -> bool:
    return isinstance(error, pytest.fail.Exception) and str(error).startswith("Timeout")
