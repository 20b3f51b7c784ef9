"""One kind cluster for all of these tests: `make e2e`.

`make e2e ARGS="--kubeconfig FILE"` asks a cluster in which the mesh and the bookshop run already,
as after `make dev` or `make e2e ARGS=--keep-cluster`, and leaves it as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.kind_cluster import Cluster, kernel_kept, missing_tools
from tests.support.mesh_report import Report
from tests.support.steady import RATE, Steady

WHY_NOT = "needs a cluster on kind: make e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="Create a kind cluster and test in it")
    parser.addoption("--long", action="store_true", help="Repeat there what is done once otherwise")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long", default=False))


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
    option = request.config.getoption
    name, folder = option("cluster_name"), tmp_path_factory.mktemp("kind")
    if kubeconfig := option("kubeconfig"):
        yield Cluster(name, folder, kubeconfig=kubeconfig)
        return
    made = Cluster(name, folder, image=option("kind_image"))
    with kernel_kept(), _running(made, report, keep=option("keep_cluster")):
        yield made


@pytest.fixture(scope="session")
def steady(cluster: Cluster, report: Report) -> Iterator[Steady]:
    """A server and its caller, in a namespace of the default revision."""
    shop = cluster.get("deployment", "storefront-v1", "-n", "bookshop")
    image = shop["spec"]["template"]["spec"]["containers"][0]["image"]
    made = Steady(cluster, image)
    try:
        with report.step("a server and its caller"):
            made.start(replicas=2, rate=RATE)
        yield made
    finally:
        made.delete()


@contextmanager
def _running(made: Cluster, report: Report, *, keep: bool) -> Iterator[None]:
    try:
        with report.step("cluster"):
            made.create()
        with report.step("images"):
            report.images = made.build()
        with report.step("control plane and bookshop"):
            made.deploy()
        yield
    finally:
        if keep:
            report.note(f"kept: --kubeconfig {made.kubeconfig}")
        else:
            made.delete()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _REPORT.lines():
        terminalreporter.write_line(line)
