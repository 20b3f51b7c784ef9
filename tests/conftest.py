"""Options of all tests: how far those explore that try random examples."""

import os

import pytest

from tests.support import examples


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
