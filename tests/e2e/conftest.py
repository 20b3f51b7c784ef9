"""One kind cluster for all of these tests: `make e2e`."""

from collections.abc import Iterator

import pytest

from tests.support.kind_cluster import Cluster, kernel_kept, missing_tools
from tests.support.mesh_report import Report

WHY_NOT = "needs a cluster on kind: make e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="Create a kind cluster and test in it")


@pytest.fixture(scope="session")
def report() -> Report:
    return _REPORT


_REPORT = Report()


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, report: Report
) -> Iterator[Cluster]:
    if not request.config.getoption("--e2e", default=False):
        pytest.skip(WHY_NOT)
    if missing := missing_tools():
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    name = request.config.getoption("cluster_name")
    folder = tmp_path_factory.mktemp("kind")
    made = Cluster(name, request.config.getoption("kind_image"), folder)
    with kernel_kept():
        try:
            with report.step("cluster"):
                made.create()
            with report.step("images"):
                report.images = made.build()
            with report.step("control plane and bookshop"):
                made.deploy()
            yield made
        finally:
            if request.config.getoption("keep_cluster"):
                report.note(f"kept: KUBECONFIG={made.kubeconfig}")
            else:
                made.delete()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _REPORT.lines():
        terminalreporter.write_line(line)
