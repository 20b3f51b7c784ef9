"""`seinectl problems`: what is wrong with the configuration that the mesh was given."""

import asyncio
from pathlib import Path

from google.protobuf.json_format import MessageToDict

from libs.protos.feed.v1.feed_pb2 import AnalyzeRequest, Problem, WatchProblemsRequest
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from libs.runtime.localmesh import LocalMesh
from services.ctl import channel, mesh, output
from services.ctl.output import Format


def run(state: Path | None, form: Format) -> int:
    """Print the problems; return 1 if one of them is an error."""
    found = asyncio.run(latest(mesh.find(state)))
    if form is Format.JSON:
        output.print_json([described(problem) for problem in found])
    else:
        _print(found)
    return output.FAILED if any(problem.severity == "error" for problem in found) else output.OK


async def latest(local: LocalMesh) -> list[Problem]:
    """Return the problems of this moment."""
    async with channel.connect(local, "discovery") as opened:
        stream = MeshFeedStub(opened).WatchProblems(WatchProblemsRequest())
        async for update in stream:
            return list(update.problems)
    return []


async def analyzed(local: LocalMesh) -> list[Problem]:
    """Return the problems of this moment, and what the analysis of the whole mesh notices."""
    async with channel.connect(local, "discovery") as opened:
        noticed = await MeshFeedStub(opened).Analyze(AnalyzeRequest())
    return [*await latest(local), *noticed.problems]


def described(problem: Problem) -> dict[str, object]:
    """Return a problem as JSON data, empty fields included."""
    return MessageToDict(
        problem, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _print(found: list[Problem]) -> None:
    if not found:
        output.say("[green]✓[/] no problems")
    for problem in found:
        colour = "red" if problem.severity == "error" else "yellow"
        where = f"{problem.file}:{problem.line} " if problem.file else ""
        subject = " ".join(part for part in (problem.ref, problem.path) if part)
        output.say(
            f"[bold]{output.clean(where)}[/][{colour}]{problem.severity}[/] "
            f"{output.clean(subject)}: {output.clean(problem.text)} [dim]({problem.reason})[/]"
        )
