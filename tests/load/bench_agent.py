"""What an agent costs: memory by import, memory and CPU of a running one, and a large push.

Resident memory is read from /proc; `private` is what every further pod on a node costs, because the
rest is shared with the agents of other pods. Prints, never asserts.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import agent as agents
from tests.support.envoy_json import snapshot

_IMPORTS = {
    "python": "pass",
    "+ asyncio, ssl": "import asyncio, ssl",
    "+ h2": "import asyncio, ssl, h2.connection",
    "+ h11, json, logging": "import asyncio, ssl, h2.connection, h11, json, logging",
    "+ msgspec": "import asyncio, ssl, h2.connection, h11, json, logging, msgspec",
    "+ protobuf (SDS)": (
        "import asyncio, ssl, h2.connection, h11, json, logging, msgspec\n"
        "from libs.protos.xds.v1 import relay_pb2"
    ),
    "all of the agent": "import services.agent.app, libs.runtime.main",
    "the certificate process": "import services.agent.certificate",
    "for comparison: grpc.aio": "import asyncio, ssl\nfrom grpc import aio",
    "for comparison: aiohttp": "import aiohttp",
}
_PRINT = "\nprint(open('/proc/self/smaps_rollup').read())"


def memory(rollup: str) -> str:
    """Return resident and private megabytes of an smaps_rollup."""
    rows = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:] if line}
    private = rows["Private_Clean:"] + rows["Private_Dirty:"]
    return f"{rows['Rss:'] / 1024:6.1f} MB resident {private / 1024:6.1f} MB private"


def imports() -> None:
    """Print what each import adds up to."""
    for name, code in _IMPORTS.items():
        done = subprocess.run(
            [sys.executable, "-c", code + _PRINT], check=True, capture_output=True, text=True
        )
        print(f"  {name:28} {memory(done.stdout)}")


def cluster(number: int) -> dict[str, object]:
    """Return a cluster of ordinary size."""
    name = f"outbound|80||service-{number}.namespace-{number % 50}.svc.cluster.local"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}] * 20}],
        },
    }


async def running() -> None:
    """Print the costs of a running agent, idle and after a push of some megabytes."""
    large = snapshot([cluster(number) for number in range(5000)], [])
    size = sum(len(one.body) for one in next(iter(large.sets.values())).resources.values())
    with tempfile.TemporaryDirectory() as folder:
        async with agents.mesh(Path(folder), snapshot([], [])) as mesh:
            before = time.perf_counter()
            async with agents.agent(mesh) as agent:
                await agent.ready()
                print(f"  ready after {time.perf_counter() - before:.2f} s")
                await agent.until_log("certificate obtained")
                print(f"  {'idle':28} {memory(_rollup(agent.process.pid))}")
                cpu = _cpu_seconds(agent.process.pid)
                await asyncio.sleep(5)
                used = _cpu_seconds(agent.process.pid) - cpu
                print(f"  idle CPU: {used / 5 * 100:.2f} %")
                cpu, before = _cpu_seconds(agent.process.pid), time.perf_counter()
                changed = mesh.plane.serve(large)
                await mesh.plane.settled(changed)
                took = time.perf_counter() - before
                used = _cpu_seconds(agent.process.pid) - cpu
                print(
                    f"  a push of {size / 1e6:.1f} MB: {took:.2f} s until Envoy acknowledged,"
                    f" {used:.2f} s of the agent's CPU"
                )
                print(f"  {'after it':28} {memory(_rollup(agent.process.pid))}")
                print(f"  peak {_peak(agent.process.pid)}")


def _rollup(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _peak(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return f"{peak / 1024:.1f} MB resident"


if __name__ == "__main__":
    imports()
    asyncio.run(running())
