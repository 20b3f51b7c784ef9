"""Analysis: everything that is wrong with manifests together, and what Istio calls it.

The same rooms that judge a running mesh judge here: each document by itself, what resources say of
each other, what sidecars cannot listen for, what is odd about pods and about who injects them.
Codes are those of `istioctl analyze`, so that its users know and can suppress them; what only Seine
finds has a reason and no code. Severities are Seine's own, but for what Istio ranks below warnings.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from libs.api import codes, documents
from libs.api.check import Finding, check_files, located
from libs.api.documents import Document
from libs.api.problem import Problem, Severity
from libs.api.resource import Resource
from libs.inject import analysis as injection
from libs.inject.analysis.subject import Subject, of_document
from libs.model.ids import Ref, SpiffeId, parse_ref
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.proxy import node
from libs.proxy.errors import NodeError
from libs.proxy.scoper import Scoper
from libs.translate import analysis
from libs.translate.apply import Upsert, apply, initial
from libs.xds.generate.patches.fits import fits
from services.ctl import render

SUPPRESS = "galley.istio.io/analyze-suppress"
"""The annotation that lists codes to leave out of a resource, or `*`."""

INFO = "info"


class Message(Struct, frozen=True, order=True):
    """One line of the answer. `severity` is error, warning or info."""

    severity: str
    ref: str
    path: str
    code: str
    reason: str
    text: str
    file: str = ""
    line: int = 0


class Suppression(Struct, frozen=True):
    """A code (or a reason, or `*`) that is not to be told of some resources."""

    code: str
    resource: str  # `<kind> <namespace>/<name>` or `<kind> <name>[.<namespace>]`, maybe with *

    def covers(self, message: Message) -> bool:
        """Tell whether a message is to be left out."""
        if self.code not in {message.code, message.reason, "*"} or not message.ref:
            return False
        kind, namespace, name = parse_ref(Ref(message.ref))
        bare = f"{kind} {name}"
        written = (f"{kind} {namespace}/{name}", f"{bare}.{namespace}" if namespace else bare)
        return any(fnmatchcase(one, self.resource) for one in written)


def parse(written: str) -> Suppression:
    """Return what `CODE=KIND NAMESPACE/NAME` suppresses.

    Raises:
        ValueError: it is not of that form.

    """
    code, equals, resource = written.partition("=")
    if not code or not equals or len(resource.split()) != 2:
        message = f"{written!r} is not CODE=KIND NAMESPACE/NAME"
        raise ValueError(message)
    return Suppression(code, " ".join(resource.split()))


def analyze(texts: Mapping[str, str], suppressions: Iterable[Suppression] = ()) -> list[Message]:
    """Return what is wrong with manifests, errors first, without what is suppressed."""
    found = check_files(sorted(texts.items()), fits)
    alone = [it for one in found for it in (*one.errors, *one.warnings)]
    resources = [one.resource for one in found if one.resource is not None]
    told = {(it.ref, it.path, it.reason) for it in alone}
    together = [it for it in _together(resources) if (it.ref, it.path, it.reason) not in told]
    placed = _placed(together, found, texts)
    messages = [message(it, codes.of_schema(it)) for it in alone]
    messages += [message(it, codes.of(it)) for it in placed]
    subjects = _subjects(texts)
    messages += [message(it, codes.of(it)) for it in _injection(subjects, told)]
    return without(messages, [*suppressions, *_annotated(one for one, _ in subjects)])


def _subjects(texts: Mapping[str, str]) -> list[tuple[Subject, Document]]:
    """Return every document that can be read; of one that is written twice, the first."""
    found: dict[Ref, tuple[Subject, Document]] = {}
    for name, text in sorted(texts.items()):
        for document in documents.read(text, name):
            subject = of_document(document.raw) if document.raw is not None else None
            if subject is not None:
                found.setdefault(subject.ref, (subject, document))
    return list(found.values())


def _injection(
    subjects: Sequence[tuple[Subject, Document]], told: Container[tuple[Ref, str, str]]
) -> Iterator[Problem]:
    """Yield what is odd about pods and who injects them, and was not told yet."""
    written = {subject.ref: document for subject, document in subjects}
    for it in injection.findings(subject for subject, _ in subjects):
        if (it.ref, it.path, it.reason) not in told:
            yield located(it, written[it.ref])


def message(problem: Problem, code: str) -> Message:
    """Return what is told of a problem."""
    severity = INFO if code in codes.INFORMATIVE else str(problem.severity)
    return Message(
        severity=severity,
        ref=problem.ref,
        path=problem.path,
        code=code,
        reason=problem.reason,
        text=problem.text,
        file=problem.file,
        line=problem.line,
    )


def without(messages: Iterable[Message], suppressions: Iterable[Suppression]) -> list[Message]:
    """Return the messages that nothing suppresses, each once, errors first."""
    rules = list(suppressions)
    left = {it for it in messages if not any(rule.covers(it) for rule in rules)}
    return sorted(left, key=lambda it: (_RANKS[it.severity], it))


_RANKS = {str(Severity.ERROR): 0, str(Severity.WARNING): 1, INFO: 2}


def _together(resources: Sequence[Resource]) -> list[Problem]:
    every = [*resources, *render.slices(resources)]
    step = apply(initial(MeshSettings()), [Upsert(resource) for resource in every])
    return sorted({*step.problems, *analysis.findings(step.state), *_conflicts(step.state.mesh)})


def _conflicts(mesh: Mesh) -> Iterator[Problem]:
    """Yield the listener conflicts of all sidecars, looking once at each set of services."""
    scoper, seen = Scoper(), set[int]()
    kept = []  # as long as they are there, no other object has their number
    for workload in mesh.workloads.values():
        if workload.router or workload.entry or not workload.addresses:
            continue
        identity = SpiffeId(
            mesh.settings.trust_domain, workload.namespace, workload.service_account
        )
        try:
            proxy = node.parse(render.node_id(mesh, workload), {}, identity, mesh)
        except NodeError:  # its address is none, and it could never connect
            continue
        scope = scoper.scope(mesh, proxy)
        if id(scope.outbound) not in seen:
            seen.add(id(scope.outbound))
            kept.append(scope)
            yield from render.conflicts(scope)


def _placed(
    problems: Iterable[Problem], found: Sequence[Finding], texts: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield problems with the file and line of what they are about."""
    files = {one.ref: one.file for one in reversed(found) if one.ref}
    read: dict[str, dict[Ref, documents.Document]] = {}
    for problem in problems:
        file = files.get(problem.ref, "")
        if not file:
            yield problem
            continue
        if file not in read:
            every = documents.read(texts[file], file)
            read[file] = {document.ref: document for document in reversed(every)}
        document = read[file].get(problem.ref)
        line = document.line_of(problem.path) if document else 0
        yield replace(problem, file=file, line=line)


def _annotated(subjects: Iterable[Subject]) -> Iterator[Suppression]:
    for one in subjects:
        kind, namespace, name = parse_ref(one.ref)
        for code in one.annotations.get(SUPPRESS, "").split(","):
            if code.strip():
                yield Suppression(code.strip(), f"{kind} {namespace}/{name}")
