"""Advice: what a person can try by hand while the mesh runs, in commands that work as printed."""

import sys
from collections.abc import Iterator
from pathlib import Path

from libs.runtime.localmesh import LocalMesh
from services.local.manifests import Application, Pod, Service


def lines(mesh: LocalMesh, application: Application) -> Iterator[str]:
    """Yield the lines, with markup for the terminal."""
    ctl = seinectl()
    yield ""
    yield "[bold]Try by hand[/], in another terminal:"
    for command, what in _commands(mesh, application):
        yield f"  [cyan]{ctl} {command}[/]  [dim]# {what}[/]"
    for command, what in _plain(mesh, application):
        yield f"  [cyan]{command}[/]  [dim]# {what}[/]"
    folder = _short(Path(mesh.manifests))
    yield f"  edit and save a file in [cyan]{folder}[/]  [dim]# its receipt appears here[/]"
    yield "  Ctrl-C ends everything."
    yield ""


def seinectl() -> str:
    """Return how to call seinectl from the working directory."""
    script = Path(sys.executable).with_name("seinectl")
    if script.exists():
        return _short(script)
    return f"{_short(Path(sys.executable))} -m services.ctl"


def _commands(mesh: LocalMesh, application: Application) -> Iterator[tuple[str, str]]:
    yield "check", "is everything well?"
    yield "proxy-status", "does every proxy have what it should?"
    target = _http_service(application)
    caller = next(
        (pod for pod in application.pods if pod.sidecar and pod.key in mesh.workloads), None
    )
    if target and caller:
        service, port = target
        url = f"http://{service.name}:{port}/"
        yield (
            f"exec {caller.key} -- curl -s {url}",
            "a call as this pod makes it, through its proxy",
        )
        yield f"proxy-config route {caller.key}", "with the resource that each route came from"


def _plain(mesh: LocalMesh, application: Application) -> Iterator[tuple[str, str]]:
    """Commands without seinectl: a plain-text caller from outside of the mesh."""
    for pod in application.pods:
        described = mesh.workloads.get(pod.key)
        if described and pod.listens and _speaks_http(pod, application):
            url = f"http://{described.address}:{pod.listens[0]}/"
            yield f"curl {url}", f"plain text to {pod.name}, without a sidecar"
            return


def _http_service(application: Application) -> tuple[Service, int] | None:
    for service in application.services:
        for name, number, _ in service.ports:
            if name.startswith("http"):
                return service, number
    return None


def _speaks_http(pod: Pod, application: Application) -> bool:
    return any(
        service.selects(pod) and any(name.startswith("http") for name, _, _ in service.ports)
        for service in application.services
    )


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
