"""Advice: what a person can try by hand while the mesh runs, in commands that work as printed."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from libs.runtime.localmesh import LocalMesh
from services.local.manifests import Application
from services.local.trails import Seen
from services.local.verdict import Fate


def lines(mesh: LocalMesh, application: Application, samples: Mapping[Fate, Seen]) -> Iterator[str]:
    """Yield the lines, with markup for the terminal. `samples` are calls that can be repeated."""
    ctl = seinectl()
    yield ""
    yield "[bold]Try by hand[/], in another terminal:"
    for command, what in (*_ours(mesh, application, samples), *_plain(mesh, application, samples)):
        yield f"  [cyan]{command.format(ctl=ctl)}[/]  [dim]# {what}[/]"
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


def _ours(
    mesh: LocalMesh, application: Application, samples: Mapping[Fate, Seen]
) -> Iterator[tuple[str, str]]:
    yield "{ctl} check", "is everything well?"
    yield "{ctl} proxy-status", "does every proxy have what it should?"
    for fate, what in ((Fate.ALLOWED, "the same call"), (Fate.DENIED, "a call that is denied")):
        seen = samples.get(fate)
        pod = next((pod for pod in application.pods if seen and pod.name == seen.caller), None)
        if seen and pod and pod.key in mesh.workloads:
            method = f"-X {seen.method} " if seen.method != "GET" else ""
            url = f"http://{seen.service}:{seen.port}{seen.path}"
            yield f"{{ctl}} exec {pod.key} -- curl -s {method}{url}", f"{what}, as {pod.name}"
    for pod in (pod for pod in application.pods if pod.key in mesh.workloads):
        yield f"{{ctl}} proxy-config route {pod.key}", "with what each route came from"
        return


def _plain(
    mesh: LocalMesh, application: Application, samples: Mapping[Fate, Seen]
) -> Iterator[tuple[str, str]]:
    """Yield a call from outside of the mesh, in plain text, that STRICT refuses."""
    seen = samples.get(Fate.REFUSED)
    if seen is None:
        return
    for service in application.services:
        if service.name != seen.service:
            continue
        for pod in filter(service.selects, application.pods):
            if pod.key in mesh.workloads:
                address = mesh.workloads[pod.key].address
                yield f"curl http://{address}:{seen.port}{seen.path}", "plain text: refused"
                return


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
