"""`seinectl problems`: what is wrong with the configuration that the mesh was given."""

from google.protobuf.json_format import MessageToDict

from libs.protos.feed.v1.feed_pb2 import Problem
from services.ctl import output
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.output import Format
from services.ctl.where import Where


def run(where: Where, form: Format) -> int:
    """Print the problems; return 1 if one of them is an error."""
    with opened(where) as plane:
        try:
            found = [it for it in plane.problems() if is_of(where.namespace, it)]
        except RequestError as error:
            output.fail(str(error), hint="`seinectl check` says more.")
        if form is Format.JSON:
            output.print_json([described(problem) for problem in found])
        else:
            _print(found)
        bad = any(problem.severity == "error" for problem in found)
        return output.FAILED if bad or plane.missing else output.OK


def is_of(namespace: str, problem: Problem) -> bool:
    """Tell whether a problem is one of a namespace's resources; every one is of ""."""
    return not namespace or problem.ref.split("/")[1:2] == [namespace]


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
