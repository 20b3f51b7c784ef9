"""The demo as a user runs it: real processes, real Envoys, in both modes, and nothing left after.

With privileges the namespaces are tested, and the loopback mode in a process that gave all of them
up; without, only the loopback mode.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from libs.runtime import localmesh
from services.local import mode as modes
from services.local import rundir
from services.local.mode import Mode

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "bookshop" / "manifests"
SERVICES = ("ca", "discovery", "config-push", "redis")
_WITHOUT_PRIVILEGES = (
    "setpriv",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--",
)
pytestmark = [pytest.mark.timeout(240)]


class Demo:
    """A running demo and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, run: Path, manifests: Path) -> None:
        self.process = process
        self.run = run
        self.manifests = manifests
        self.lines: list[str] = []
        self._arrived = asyncio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode().rstrip())
            self._arrived.set()
        self._arrived.set()

    async def printed(self, pattern: str, *, after: int = 0, seconds: float = 90) -> int:
        """Return the number of the line that matches, once it was printed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    for number in range(after, len(self.lines)):
                        if re.search(pattern, self.lines[number]):
                            return number
                    if self.process.stdout is not None and self.process.stdout.at_eof():
                        break
                    self._arrived.clear()
                    await self._arrived.wait()
        pytest.fail(f"the demo did not print {pattern!r}:\n" + "\n".join(self.lines))

    async def ended(self, *, by: signal.Signals | None = None) -> int:
        if by is not None:
            self.process.send_signal(by)
        async with asyncio.timeout(60):
            return await self.process.wait()

    @property
    def sessions(self) -> list[int]:
        """The sessions of everything that the demo started."""
        lines = (self.run / "sessions").read_text().splitlines()
        return [int(line.split()[1]) for line in lines]


@asynccontextmanager
async def _demo(tmp_path: Path, mode: Mode, *arguments: str) -> AsyncIterator[Demo]:
    manifests = tmp_path / "manifests"
    shutil.copytree(SAMPLE, manifests, dirs_exist_ok=True)
    run = tmp_path / "run"
    privileged = os.geteuid() == 0
    drop = _WITHOUT_PRIVILEGES if privileged and mode is Mode.LOOPBACK else ()
    words = ("--manifests", str(manifests), "--run-directory", str(run), *arguments)
    process = await asyncio.create_subprocess_exec(
        *drop,
        *(sys.executable, "-m", "services.local", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1024 * 1024,
    )
    demo = Demo(process, run, manifests)
    async with asyncio.TaskGroup() as group:
        group.create_task(demo.read())
        try:
            yield demo
        finally:
            if process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 30)
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture(params=list(Mode))
async def mode(request: pytest.FixtureRequest) -> Mode:
    """Each mode that this process may run in."""
    wanted = Mode(request.param)
    if wanted is Mode.NAMESPACES:
        choice = await modes.choose()
        if choice.mode is not Mode.NAMESPACES:
            pytest.skip(choice.reason)
    return wanted


class Left:
    """What a demo could leave behind, noted while it runs."""

    def __init__(self, demo: Demo) -> None:
        self._run = demo.run
        self._sessions = demo.sessions
        mesh = localmesh.load(demo.run / localmesh.STATE_FILE)
        address = IPv4Address(next(iter(mesh.workloads.values())).address)
        self._link = Path("/sys/class/net", f"seine-{address.packed.hex()[:4]}")
        assert self._link.exists() == (mesh.mode == Mode.NAMESPACES)
        assert len(self._sessions) >= 20  # control plane, Redis, ten agents, eleven programs

    def nothing(self) -> bool:
        """No process, and with it no namespace; no address on a link; no file."""
        left = [pid for session in self._sessions for pid in rundir.members(session)]
        return not left and not self._link.exists() and not self._run.exists()


async def test_every_row_is_right_and_nothing_is_left(tmp_path: Path, mode: Mode) -> None:
    before = {path: path.read_bytes() for path in SAMPLE.iterdir()}
    async with _demo(tmp_path, mode, "--once") as demo:
        what = "network namespace" if mode is Mode.NAMESPACES else "loopback address"
        await demo.printed(f"mode .*{what} per workload")
        await demo.printed("^  logs ")
        left = Left(demo)
        assert await demo.ended() == 0, "\n".join(demo.lines)
        await demo.printed("every row is right")
        assert left.nothing()
    assert {path: path.read_bytes() for path in SAMPLE.iterdir()} == before


async def test_killing_services_loses_no_call(tmp_path: Path, mode: Mode) -> None:
    async with _demo(tmp_path, mode) as demo:
        await demo.printed("Ctrl-C ends everything")
        for name in SERVICES:
            seen = len(demo.lines)
            os.kill(_pid(demo, name), signal.SIGKILL)
            await demo.printed(rf"{name} killed by SIGKILL, started again", after=seen)
            line = await demo.printed(rf"{name} is ready again", after=seen)
            assert "no call was lost" in demo.lines[line]
            await _push_a_change(demo, weight=30 + len(demo.lines) % 30)
        left = Left(demo)
        assert await demo.ended(by=signal.SIGINT) == 0
        await demo.printed("calls between workloads, none lost")
        assert left.nothing()


async def test_saving_a_file_takes_effect_and_a_broken_one_is_told(
    tmp_path: Path, mode: Mode
) -> None:
    async with _demo(tmp_path, mode) as demo:
        await demo.printed("Ctrl-C ends everything")
        await _push_a_change(demo, weight=90)

        broken = demo.manifests / "reviews-weights.yaml"
        good = broken.read_text()
        seen = len(demo.lines)
        broken.write_text(good.replace("weight: ", "wieght: ", 1))
        line = await demo.printed(r"^error ", after=seen)
        assert re.search(
            r"reviews-weights\.yaml:\d+ VirtualService/bookshop/reviews "
            r"spec\.http\[0\]\.route\[0\]\.wieght: .*\(UnknownField\)",
            demo.lines[line],
        )
        # All else goes on: another file takes effect while this one is broken.
        mtls = demo.manifests / "mtls.yaml"
        mtls.write_text(mtls.read_text().replace("mode: PERMISSIVE", "mode: STRICT"))
        line = await demo.printed(
            r"✓ change \S+ PeerAuthentication/bookshop/storefront", after=seen
        )
        assert "0 rejected" in demo.lines[line]

        broken.write_text(good)
        await demo.printed("mended: VirtualService/bookshop/reviews", after=seen)
        left = Left(demo)
        assert await demo.ended(by=signal.SIGTERM) == 0
        await demo.printed("none lost")
        assert left.nothing()


async def test_seinectl_sees_the_running_mesh(tmp_path: Path, mode: Mode) -> None:
    async with _demo(tmp_path, mode) as demo:
        await demo.printed("Ctrl-C ends everything")
        status, text = await _seinectl(demo, "check")
        assert status == 0, text
        status, text = await _seinectl(demo, "proxy-status", "-o", "json")
        rows = json.loads(text)
        assert (status, len(rows)) == (0, 10)
        assert {row[name] for row in rows for name in ("CDS", "LDS", "EDS", "RDS")} == {"SYNCED"}

        for kind, known in (
            ("cluster", "outbound|9080|v2|reviews.bookshop.svc.cluster.local"),
            ("listener", "9080"),
            ("route", "VirtualService/bookshop/reviews"),
            ("endpoint", "outbound|7000||inventory.bookshop.svc.cluster.local"),
            ("secret", "spiffe://cluster.local/ns/bookshop/sa/storefront"),
        ):
            words = ("proxy-config", kind, "storefront", "-o", "json")
            status, text = await _seinectl(demo, *words)
            assert (status, known in text) == (0, True), text
            assert json.loads(text)
            status, text = await _seinectl(demo, *words[:3])
            assert status == 0, text

        await _push_a_change(demo, weight=50)
        status, text = await _seinectl(
            demo, "receipts", "VirtualService/bookshop/reviews", "-o", "json"
        )
        latest = json.loads(text)[-1]
        assert (status, latest["sent"], latest["rejected"]) == (0, latest["acknowledged"], 0)
        for resource in ("VirtualService/bookshop/reviews", "pa/bookshop/default"):
            status, text = await _seinectl(demo, "wait", resource)
            assert (status, "acknowledged" in text) == (0, True), text
        assert await _seinectl(demo, "problems", "-o", "json") == (0, "[]\n")
        assert await _seinectl(demo, "analyze", "-o", "json") == (0, "[]\n")

        curl = ("curl", "-s", "-m", "10")
        status, text = await _seinectl(
            demo, "exec", "catalog", "--", *curl, "http://storefront:9080/"
        )
        trail = json.loads(text)["trail"]
        assert trail["caller"] == "spiffe://cluster.local/ns/bookshop/sa/catalog"
        words = ("-X", "DELETE", "http://reviews:9080/reviews/1")
        status, text = await _seinectl(demo, "exec", "storefront", "--", *curl, *words)
        assert text == "RBAC: access denied"


async def test_pods_come_and_go_while_it_runs(tmp_path: Path, mode: Mode) -> None:
    async with _demo(tmp_path, mode) as demo:
        await demo.printed("Ctrl-C ends everything")
        written = (demo.manifests / "reviews.yaml").read_text().split("---\n")
        pod = next(text for text in written if "name: reviews-v3" in text)
        added = demo.manifests / "reviews-v4.yaml"
        added.write_text(pod.replace("v3", "v4"))
        await demo.printed(r"reviews-v4\.bookshop runs")
        # It serves: all requests of one version go there instead, and then again where they went.
        weights = demo.manifests / "reviews-weights.yaml"
        before = weights.read_text()
        subset = "    - name: v4\n      labels:\n        version: v4\n"
        _save(weights, before.replace("subset: v3", "subset: v4") + subset)
        await demo.printed(r"✓ change \S+ .*VirtualService/bookshop/reviews.* 0 rejected")
        seen = len(demo.lines)
        _save(weights, before + subset)
        await demo.printed(r"✓ change \S+ .*VirtualService/bookshop/reviews", after=seen)
        added.unlink()
        await demo.printed(r"reviews-v4\.bookshop has ended")
        left = Left(demo)
        assert await demo.ended(by=signal.SIGINT) == 0
        await demo.printed("none lost")
        assert left.nothing()


def _save(path: Path, text: str) -> None:
    """Put a whole file in the place of another: one that is written in place is empty for a moment.

    On a busy machine that moment is long enough to be a change of its own.
    """
    fresh = path.parents[1] / path.name
    fresh.write_text(text)
    fresh.replace(path)


async def test_what_a_killed_demo_left_is_cleaned_by_the_next(tmp_path: Path, mode: Mode) -> None:
    async with _demo(tmp_path, mode) as demo:
        await demo.printed("^  logs ")
        left = Left(demo)
        assert await demo.ended(by=signal.SIGKILL) == -signal.SIGKILL
        assert demo.run.exists()
    async with _demo(tmp_path, mode, "--once") as again:
        assert await again.ended() == 0, "\n".join(again.lines)
        assert not again.run.exists()
    assert left.nothing()


async def test_a_second_demo_in_the_same_place_is_refused(tmp_path: Path) -> None:
    async with _demo(tmp_path, Mode.LOOPBACK, "--mode", "loopback") as first:
        await first.printed("^  manifests ")
        async with _demo(tmp_path, Mode.LOOPBACK, "--mode", "loopback") as second:
            assert await second.ended() == 2
            await second.printed(rf"already runs in .* \(process {first.process.pid}\)")


async def _seinectl(demo: Demo, *words: str) -> tuple[int, str]:
    """Return status and output of a command, run as the demo's own user runs it."""
    state = str(demo.run / localmesh.STATE_FILE)
    command, *rest = words
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ctl", command, "--mesh", state, *rest),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def _pid(demo: Demo, name: str) -> int:
    """Return the process of a service, found by what it runs in the demo's sessions."""
    wanted = {"redis": "redis-server"}.get(name, f"services.{name.replace('-', '_')}")
    for session in reversed(demo.sessions):
        for pid in rundir.members(session):
            if wanted in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                return pid
    pytest.fail(f"{name} does not run")


async def _push_a_change(demo: Demo, *, weight: int) -> None:
    """Save other weights and await the receipt: every proxy that was told has acknowledged.

    Proxies that have only just connected may have the change already, as part of what they asked
    for themselves; then the next one reaches them.
    """
    for attempt in range(5):
        sent, acknowledged = await _save_and_await_receipt(demo, weight + attempt)
        assert sent == acknowledged
        if sent:
            return
    pytest.fail("no proxy was ever sent a change:\n" + "\n".join(demo.lines))


async def _save_and_await_receipt(demo: Demo, weight: int) -> tuple[int, int]:
    seen = len(demo.lines)
    file = demo.manifests / "reviews-weights.yaml"
    weights = iter((weight, 100 - weight, 0))
    file.write_text(re.sub(r"weight: \d+", lambda _: f"weight: {next(weights)}", file.read_text()))
    cause = "(VirtualService/bookshop/reviews|made while discovery was away)"
    line = await demo.printed(rf"change \S+ {cause}", after=seen)
    found = re.search(r"sent to (\d+) of \d+ proxies, (\d+) acknowledged", demo.lines[line])
    assert found, demo.lines[line]
    return int(found[1]), int(found[2])
