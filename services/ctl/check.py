"""`seinectl check`: whether the mesh is well, and if not, what is wrong and what to do about it.

It asks each process itself: an answer that comes second-hand may be the very thing that is broken.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from libs.runtime.localmesh import LocalMesh, Server
from services.ctl import mesh, output, status
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.output import Format
from services.ctl.plane import Plane
from services.ctl.where import Where

if TYPE_CHECKING:
    from services.ctl.local_plane import LocalPlane

_SOON_SECONDS = 3600.0


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    subject: str
    good: bool
    text: str
    hint: str = ""


def run(where: Where, form: Format) -> int:
    """Print all findings; return 1 if one is bad."""
    with opened(where) as plane:
        title, found = _looked(plane)
    if form is Format.JSON:
        output.print_json(
            [
                {"subject": it.subject, "good": it.good, "text": it.text, "hint": it.hint}
                for it in found
            ]
        )
    else:
        _print(title, found)
    return output.OK if all(finding.good for finding in found) else output.FAILED


def _looked(plane: Plane) -> tuple[str, list[Finding]]:
    """Return what was looked at, and what was found."""
    from services.ctl.cluster_plane import ClusterPlane  # noqa: PLC0415 - the one that is meant
    from services.ctl.local_plane import LocalPlane  # noqa: PLC0415

    if isinstance(plane, LocalPlane):
        local = plane.local
        title = f"[bold]Mesh on this machine[/], {local.mode}, process {local.pid}"
        return title, list(findings(plane))
    from services.ctl import check_cluster  # noqa: PLC0415

    if not isinstance(plane, ClusterPlane):
        raise TypeError(plane)
    of = f"{plane.cluster.context or 'current context'} of {plane.cluster.kubeconfig}"
    title = f"[bold]Mesh in a cluster[/], {output.clean(of)}, {plane.system_namespace}"
    return title, list(check_cluster.findings(plane))


def findings(plane: "LocalPlane") -> Iterator[Finding]:
    """Look at everything on this machine, the most basic first."""
    local = plane.local
    for name, server in local.servers.items():
        yield _process(name, server, local.version)
        yield _certificate(name, server)
    yield _redis(local.redis)
    yield from _proxies(local)
    yield connected(plane)
    yield configuration(plane)


def _process(name: str, server: Server, version: str) -> Finding:
    subject = f"{name} process"
    log = f"It is started again when it dies; its log is {server.log}"
    try:
        mesh.get(server.monitoring, "/ready")
        running = json.loads(mesh.get(server.monitoring, "/version"))["version"]
    except RequestError as error:
        return Finding(subject=subject, good=False, text=str(error), hint=log)
    if running != version:
        text = f"version {running}, but the mesh was started as {version}"
        return Finding(subject=subject, good=False, text=text, hint="Start the mesh again.")
    return Finding(subject=subject, good=True, text=f"ready, version {running}")


def _certificate(name: str, server: Server) -> Finding:
    subject = f"{name} certificate"
    try:
        left = expiry(server.grpc) - time.time()  # noqa: TID251 - compared with a date from outside
    except (OSError, ValueError) as error:
        text = f"no TLS at {server.grpc}: {error}"
        return Finding(subject=subject, good=False, text=text, hint=f"See {server.log}")
    text = f"{server.server_name}, {_duration(left)} left"
    hint = "" if left > _SOON_SECONDS else "It renews itself at half of its life: is the CA well?"
    return Finding(subject=subject, good=left > 0, text=text, hint=hint)


def expiry(address: str) -> float:
    """Return when the certificate of a TLS port expires, in seconds since the epoch.

    Raises:
        OSError: nobody listens there, or does not speak TLS.
        ValueError: the certificate cannot be read.

    """
    from libs.pki import bundle  # noqa: PLC0415 - only this command needs cryptography

    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at, and nothing is sent
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=mesh.TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    if certificate is None:
        message = "the port shows no certificate"
        raise ValueError(message)
    return bundle.validity(ssl.DER_cert_to_PEM_cert(certificate).encode())[1]


def _redis(address: str) -> Finding:
    if not address:
        return Finding(subject="redis", good=True, text="none: config-push caches in memory")
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        hint = "Nothing is lost but time: it is started again."
        return Finding(subject="redis", good=False, text=f"{address}: {error}", hint=hint)
    good = answer.startswith((b"+PONG", b"-NOAUTH"))
    return Finding(subject="redis", good=good, text="answers" if good else repr(answer))


def _proxies(local: LocalMesh) -> Iterator[Finding]:
    for name, workload in local.workloads.items():
        try:
            mesh.get(workload.status, "/healthz/ready")
        except RequestError as error:
            hint = f"Its log is {workload.log}"
            yield Finding(subject=f"proxy {name}", good=False, text=str(error), hint=hint)


def connected(plane: Plane) -> Finding:
    """Look whether proxies are connected, and took what they were sent."""
    try:
        rows = status.rows(plane)
    except RequestError as error:
        return Finding(subject="proxies", good=False, text=str(error))
    states = {str(row["proxy"]): {str(row[name]) for name in status.TYPES} for row in rows}
    absent = [name for name, found in states.items() if status.NOT_CONNECTED in found]
    if absent:
        text = f"{', '.join(absent)} not connected"
        return Finding(subject="proxies", good=False, text=text, hint="See the log of each agent.")
    failed = [name for name, found in states.items() if status.ERROR in found]
    if failed:
        hint = "`seinectl proxy-status` shows Envoy's words and where the configuration came from."
        text = f"{', '.join(failed)} rejected configuration"
        return Finding(subject="proxies", good=False, text=text, hint=hint)
    return Finding(subject="proxies", good=True, text=f"{len(rows)} connected and ready")


def configuration(plane: Plane) -> Finding:
    """Look whether something is wrong with the configuration."""
    try:
        found = plane.problems()
    except RequestError as error:
        return Finding(subject="configuration", good=False, text=str(error))
    errors = [problem for problem in found if problem.severity == "error"]
    text = f"{len(errors)} errors, {len(found) - len(errors)} warnings"
    hint = "`seinectl problems` lists them with file and line." if found else ""
    return Finding(subject="configuration", good=not errors, text=text, hint=hint)


def _print(title: str, found: list[Finding]) -> None:
    output.say(title)
    for finding in found:
        sign = "[green]✓[/]" if finding.good else "[bold red]✗[/]"
        output.say(f"{sign} {finding.subject:<24} {output.clean(finding.text)}")
        if finding.hint:
            output.say(f"  [dim]{'':<24} {output.clean(finding.hint)}[/]")


def _duration(seconds: float) -> str:
    hours, rest = divmod(max(int(seconds), 0), 3600)
    return f"{hours} h {rest // 60} min"
