"""`seinectl validate`: everything that is wrong with manifests, without a mesh and in no time.

Each document is judged by itself, as admission does it. If Services are among the files, what the
resources say of each other is looked at too: a reference that leads nowhere is a warning, because
what it names may be in the cluster already.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from libs.api import documents
from libs.api.check import Finding, check_files
from libs.api.kubernetes import Service
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from services.ctl import output
from services.ctl.output import Format

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
MAX_FILE_BYTES = 64 * 1024 * 1024

Text = tuple[str, str]


def run(paths: Sequence[str], form: Format) -> int:
    """Print what is wrong with the manifests in files and folders; return the exit status."""
    given = list(texts(paths))
    findings = with_references(check_files(given, fits), given)
    if form is Format.JSON:
        output.print_json([described(finding) for finding in findings])
    else:
        _print(findings, len(given))
    return output.FAILED if any(finding.errors for finding in findings) else output.OK


def fits(target: str, value: bytes) -> tuple[str, str]:
    """Return why a patch's value is refused, and what of it has no effect."""
    from libs.xds.generate.patches import fits as types  # noqa: PLC0415 - few files have patches

    return types.fits(target, value)


def described(finding: Finding) -> dict[str, object]:
    """Return a finding as JSON data."""
    return {
        "file": finding.file,
        "document": finding.document,
        "kind": finding.kind,
        "name": finding.name,
        "namespace": finding.namespace,
        "errors": [_described(problem) for problem in finding.errors],
        "warnings": [_described(problem) for problem in finding.warnings],
    }


def with_references(findings: Sequence[Finding], given: Iterable[Text]) -> list[Finding]:
    """Return the findings with warnings about what their resources say of each other."""
    resources = [it.resource for it in findings if it.resource is not None and not it.errors]
    if not any(isinstance(resource, Service) for resource in resources):
        return list(findings)
    from libs.model.settings import MeshSettings  # noqa: PLC0415 - only now it is needed
    from libs.translate.apply import Upsert, apply, initial  # noqa: PLC0415

    step = apply(initial(MeshSettings()), [Upsert(resource) for resource in resources])
    found: dict[Ref, list[Problem]] = defaultdict(list)
    for problem in step.problems:
        found[problem.ref].append(problem)
    contents = dict(given)
    return [_warned(it, found.get(it.ref, []), contents) for it in findings]


def _warned(finding: Finding, problems: list[Problem], contents: dict[str, str]) -> Finding:
    known = {(problem.path, problem.reason) for problem in (*finding.errors, *finding.warnings)}
    new = [problem for problem in problems if (problem.path, problem.reason) not in known]
    if not new or finding.resource is None or finding.errors:
        return finding
    document = next(
        it
        for it in documents.read(contents[finding.file], finding.file)
        if it.index == finding.document and it.ref == finding.ref
    )
    located = (
        replace(
            problem,
            severity=Severity.WARNING,
            file=finding.file,
            line=document.line_of(problem.path),
        )
        for problem in new
    )
    return replace(finding, warnings=(*finding.warnings, *located))


def _described(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "reason": problem.reason, "text": problem.text}


def texts(paths: Sequence[str]) -> Iterator[Text]:
    """Yield name and text of every manifest file in `paths`, or end the command."""
    for given in paths:
        if given == STDIN:
            yield "<stdin>", _decoded(sys.stdin.buffer.read(MAX_FILE_BYTES))
            continue
        path = Path(given)
        if not path.exists():
            output.fail(f"{given}: there is no such file or folder")
        for file in _files(path):
            yield str(file), _decoded(_content(file))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(it for it in path.rglob("*") if it.suffix in SUFFIXES and it.is_file())
    if not found:
        output.fail(f"{path}: no .yaml, .yml or .json file in it")
    return found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        output.fail(f"{path}: {error.strerror}")


def _decoded(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _print(findings: Sequence[Finding], files: int) -> None:
    for finding in findings:
        for problem in (*finding.errors, *finding.warnings):
            output.say(_line(problem))
    errors = sum(len(finding.errors) for finding in findings)
    warnings = sum(len(finding.warnings) for finding in findings)
    sign = "[bold red]✗[/]" if errors else "[green]✓[/]"
    output.say(
        f"{sign} {_count(len(findings), 'document')} in {_count(files, 'file')}: "
        f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    )


def _line(problem: Problem) -> str:
    colour = "red" if problem.severity is Severity.ERROR else "yellow"
    where = output.clean(f"{problem.file}:{problem.line}" if problem.line else problem.file)
    subject = output.clean(" ".join(part for part in (problem.ref, problem.path) if part))
    text = output.clean(problem.text)
    head = f"[bold]{where}[/]: [{colour}]{problem.severity}[/] {subject}".rstrip()
    return f"{head}: {text} [dim]({problem.reason})[/]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
