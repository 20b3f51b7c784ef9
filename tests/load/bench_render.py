"""What `seinectl render` costs, cold: a folder of 1,000 Services and 200 policies for one proxy.

The real command in a process of its own, as a person or a pipeline runs it; seconds of CPU are
printed beside those on the clock, since the machine may have other things to do.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SERVICES = 1000
NAMESPACES = 20
ROUNDS = 3


def _documents() -> Iterator[str]:
    yield _pod("client", "ns-0", "10.250.0.1")
    for number in range(SERVICES):
        name, namespace = f"svc-{number}", f"ns-{number % NAMESPACES}"
        address = f"10.96.{number // 250}.{number % 250 + 1}"
        yield f"""apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {address}, selector: {{app: {name}}}, ports: [{{name: http, port: 9080}}]}}
"""
        yield _pod(f"{name}-1", namespace, f"10.244.{number // 250}.{number % 250 + 1}", name)
        if number % 10 == 0:
            yield _routing(name, namespace)
            yield _policy(name, namespace)


def _pod(name: str, namespace: str, address: str, app: str = "client") -> str:
    return f"""apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}
spec: {{containers: [{{name: app}}]}}
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ip: {address}}}]
  conditions: [{{type: Ready, status: "True"}}]
"""


def _routing(name: str, namespace: str) -> str:
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{hosts: [{name}], http: [{{timeout: 3s, route: [{{destination: {{host: {name}}}}}]}}]}}
"""


def _policy(name: str, namespace: str) -> str:
    return f"""apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{host: {name}, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: 10}}}}}}}}
"""


def main() -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mesh.yaml").write_text("---\n".join(_documents()))
        command = [sys.executable, "-m", "services.ctl", "render"]
        command += ["--proxy", "client.ns-0", "-f", folder]
        for _ in range(ROUNDS):
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run([*command, *sys.argv[1:]], stdout=subprocess.DEVNULL, check=True)
            after, seconds = (
                resource.getrusage(resource.RUSAGE_CHILDREN),
                time.monotonic() - started,
            )
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"render: {seconds:5.2f} s, {cpu:5.2f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
