"""From saving a file to 20 Envoys having acknowledged it, and what each process weighs meanwhile.

Real processes on this machine, started by local mode; the workloads' programs do nothing. Time runs
from just before the write to the last acknowledgement, as config-push's receipt tells it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from libs.protos.receipts.v1.receipts_pb2 import Receipt, WatchRequest
from libs.protos.receipts.v1.receipts_pb2_grpc import ReceiptsStub
from libs.runtime import localmesh
from libs.runtime.localmesh import LocalMesh
from services.ctl import channel
from services.local import rundir

ENVOYS = 20
SAVES = 50
ROOT = Path(__file__).parents[2]

_WORKLOAD = """
apiVersion: v1
kind: Service
metadata: {{name: app-{n}, namespace: bench}}
spec:
  selector: {{app: app-{n}}}
  ports: [{{name: http, port: 9080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: app-{n}, namespace: bench, labels: {{app: app-{n}, version: v1}}}}
spec:
  containers: [{{name: app, image: none, command: [sleep, infinity]}}]
---
"""
_NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {istio-injection: enabled}}
---
"""


def _routes(number: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app-0, namespace: bench}}
spec:
  hosts: [app-0]
  http:
    - timeout: {number + 1}s
      route: [{{destination: {{host: app-0}}}}]
"""


def _mutual_tls(number: int) -> str:
    mode = ("STRICT", "PERMISSIVE")[number % 2]
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: bench}}
spec: {{mtls: {{mode: {mode}}}}}
"""


async def main() -> None:
    """Run the benchmark and print its figures."""
    with tempfile.TemporaryDirectory() as folder:
        manifests = _manifests(Path(folder))
        async with _mesh(manifests, Path(folder, "run")) as mesh:
            for name, text in (("VirtualService", _routes), ("PeerAuthentication", _mutual_tls)):
                print(_line(name, await _measure(mesh, manifests / f"{name}.yaml", text)))
            _print_memory(Path(folder, "run"))


def _manifests(folder: Path) -> Path:
    manifests = folder / "manifests"
    manifests.mkdir()
    workloads = "".join(_WORKLOAD.format(n=number) for number in range(ENVOYS))
    (manifests / "workloads.yaml").write_text(_NAMESPACE + workloads)
    return manifests


@asynccontextmanager
async def _mesh(manifests: Path, run: Path) -> AsyncIterator[LocalMesh]:
    words = ("--manifests", str(manifests), "--run-directory", str(run), *sys.argv[1:])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.local", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    try:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            print(line.decode().rstrip())
            if line.startswith(b"  logs"):
                break
        draining = asyncio.get_running_loop().create_task(process.stdout.read())
        yield localmesh.load(run / localmesh.STATE_FILE)
    finally:
        process.terminate()
        await process.wait()
        await draining


async def _measure(mesh: LocalMesh, file: Path, text: Callable[[int], str]) -> list[float]:
    taken = []
    async with channel.connect(mesh, "config-push") as opened:
        stream = aiter(ReceiptsStub(opened).Watch(WatchRequest()))
        for number in range(SAVES):
            started = time.time()  # noqa: TID251 - compared with the receipt's wall time
            file.write_text(text(number))  # noqa: ASYNC240 - as an editor would
            receipt = await _settled(stream, started)
            assert receipt.sent == receipt.acknowledged > 0, receipt
            taken.append((receipt.observed - started) * 1000 + receipt.milliseconds)
    return taken


async def _settled(stream: AsyncIterator[Receipt], started: float) -> Receipt:
    async for receipt in stream:
        if receipt.settled and receipt.observed >= started:
            return receipt
    raise AssertionError


def _line(name: str, taken: list[float]) -> str:
    cuts = statistics.quantiles(taken, n=100)
    return (
        f"{name:<20} saved → acknowledged by {ENVOYS} Envoys, {len(taken)} saves: "
        f"p50 {cuts[49]:.0f} ms  p99 {cuts[98]:.0f} ms  worst {max(taken):.0f} ms"
    )


def _print_memory(run: Path) -> None:
    sizes: dict[str, list[float]] = defaultdict(list)
    for line in (run / "sessions").read_text().splitlines():
        for pid in rundir.members(int(line.split()[1])):
            name, size = _process(pid)
            if name:
                sizes[name].append(size)
    for name, found in sorted(sizes.items()):
        print(f"{name:<20} {len(found):>3} x {statistics.median(found):6.1f} MB resident")


def _process(pid: int) -> tuple[str, float]:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    module = next((word for word in words if word.startswith("services.")), "")
    name = module or Path(words[0]).name
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return ("" if name in {"sleep", "unshare"} else name), int(line.split()[1]) / 1024
    return "", 0.0


if __name__ == "__main__":
    asyncio.run(main())
