"""Programs that hooks run: they wait for a proxy, or ask it, and say by their exit how it went."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.agent import hooks


class Pages(ThreadingHTTPServer):
    """Answers with the next status, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.asked: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        assert isinstance(self.server, Pages)
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        body = b"waiting for listeners"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(name="pages")
def pages_of_a_proxy() -> Iterator[Pages]:
    with Pages() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_waiting_ends_when_the_proxy_is_ready(pages: Pages) -> None:
    pages.statuses = [503, 503, 200]
    pauses: list[float] = []
    url = f"http://localhost:{pages.port}/healthz/ready"
    assert hooks.wait([f"--url={url}"], pauses.append) == 0
    assert pages.asked == ["GET /healthz/ready"] * 3
    assert pauses == [0.5, 0.5]


def test_waiting_ends_when_time_is_up(pages: Pages, capsys: pytest.CaptureFixture[str]) -> None:
    pages.statuses = [503] * 1000
    url = f"http://localhost:{pages.port}/healthz/ready"
    assert hooks.wait([f"--url={url}", "--timeoutSeconds=0.05", "--periodMillis=1"]) == 1
    assert "waiting for listeners" in capsys.readouterr().err


def test_nobody_there_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--url=http://localhost:1/", "--timeoutSeconds=0.02", "--periodMillis=1"]
    assert hooks.wait(arguments) == 1
    assert "refused" in capsys.readouterr().err


def test_a_request_prints_its_answer(pages: Pages, capsys: pytest.CaptureFixture[str]) -> None:
    assert hooks.request([f"--debug-port={pages.port}", "POST", "drain"]) == 0
    assert pages.asked == ["POST /drain"]
    assert capsys.readouterr().out == "waiting for listeners"


def test_a_request_that_fails_says_so_by_its_exit(pages: Pages) -> None:
    pages.statuses = [403]
    assert hooks.request([f"--debug-port={pages.port}", "POST", "/drain"]) == 1
    assert hooks.request(["--debug-port=1", "POST", "/drain"]) == 1
