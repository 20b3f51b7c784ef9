"""`seinectl analyze`: manifests judged together, or the running mesh's problems, with codes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from libs.api import codes
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from services.ctl import output, validate
from services.ctl.output import Format
from services.ctl.where import Where

if TYPE_CHECKING:
    from services.ctl.analysis import Message

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


def run(paths: Sequence[str], suppressed: Sequence[str], *, where: Where, form: Format) -> int:
    """Print what is wrong; return 1 if there is an error that is not suppressed."""
    from services.ctl import analysis  # noqa: PLC0415 - it loads what Envoy's types need

    try:
        suppressions = [analysis.parse(written) for written in suppressed]
    except ValueError as error:
        output.fail(str(error), hint="seinectl analyze -f FILE -S 'IST0118=Service shop/*'")
    if paths:
        found = analysis.analyze(dict(validate.texts(paths)), suppressions)
    else:
        every = (analysis.message(it, codes.of(it)) for it in _running(where))
        found = analysis.without(every, suppressions)
    if form is Format.JSON:
        output.print_json([described(message) for message in found])
    else:
        _print(found)
    return output.FAILED if any(it.severity == Severity.ERROR for it in found) else output.OK


def described(message: "Message") -> dict[str, object]:
    """Return a message as JSON data, the code first."""
    fields: dict[str, object] = msgspec.to_builtins(message)
    order = ("code", "severity", "ref", "path", "file", "line", "reason", "text")
    return {name: fields[name] for name in order}


def _running(where: Where) -> list[Problem]:
    """Return what is wrong with the running mesh."""
    from services.ctl import problems  # noqa: PLC0415 - files need no mesh
    from services.ctl.mesh import RequestError  # noqa: PLC0415
    from services.ctl.opening import opened  # noqa: PLC0415

    with opened(where) as plane:
        try:
            found = plane.analyzed()
        except RequestError as error:
            output.fail(str(error), hint="`seinectl check` says more.")
    return [
        Problem(Ref(it.ref), it.path, it.reason, it.text, Severity(it.severity), it.file, it.line)
        for it in found
        if problems.is_of(where.namespace, it)
    ]


def _print(found: Sequence["Message"]) -> None:
    for one in found:
        where = f"{one.file}:{one.line}" if one.line else one.file
        head = f"[{_COLOURS[one.severity]}]{one.severity}[/] {one.code or '-':<7}"
        subject = output.clean(" ".join(part for part in (one.ref, one.path) if part))
        tail = f"[dim]({one.reason}{', ' if where else ''}{output.clean(where)})[/]"
        output.say(f"{head} [bold]{subject}[/]: {output.clean(one.text)} {tail}")
    errors = sum(it.severity == Severity.ERROR for it in found)
    sign = "[bold red]✗[/]" if errors else "[green]✓[/]"
    output.say(f"{sign} {errors} errors, {len(found) - errors} other findings")
