"""Check: everything that is wrong with manifests, document by document.

The one implementation behind `seinectl validate`, admission and discovery's files. What resources
say of each other, but for being written twice, is not judged here but in `libs.translate`.
Who refuses resources gives `fits`, so that patches are refused for what they hold, as well;
discovery does not, and each patch is judged where it is applied, alone.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from libs.api import documents, mesh_config, reasons
from libs.api.decode import decode
from libs.api.documents import Document, Raw
from libs.api.identity import identify
from libs.api.kubernetes import ConfigMap
from libs.api.problem import Problem, Severity
from libs.api.resource import Resource
from libs.api.validate import validate
from libs.api.validate.patch_values import Fits, check_values
from libs.model.ids import Ref, parse_ref

Complete = Callable[[Ref, Raw], Raw]
"""Returns a raw document with what a cluster would have added to it."""


class Finding(Struct, frozen=True, kw_only=True):
    """What one document holds, and what is wrong with it. Problems name file and line.

    Without errors, `resource` is the resource to use, or None if its kind is none of the mesh's
    business. `document` counts the documents of the file from 0; items of a list share a number.
    """

    file: str
    document: int
    kind: str
    name: str
    namespace: str
    ref: Ref = Ref("")
    resource: Resource | None = None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def as_written(ref: Ref, raw: Raw) -> Raw:
    """Add nothing to a document."""
    del ref
    return raw


def check(
    text: str, file: str, complete: Complete = as_written, *, fits: Fits | None = None
) -> list[Finding]:
    """Return what a file holds, in order."""
    return [_find(document, complete, fits) for document in documents.read(text, file)]


def check_files(files: Iterable[tuple[str, str]], fits: Fits | None = None) -> list[Finding]:
    """Return what `(name, text)` of files hold; of a resource written twice, the first counts."""
    findings = [finding for name, text in files for finding in check(text, name, fits=fits)]
    first: dict[Ref, Finding] = {}
    return [_once(finding, first.setdefault(finding.ref, finding)) for finding in findings]


def check_raw(raw: Raw, fits: Fits | None = None) -> tuple[Resource | None, list[Problem]]:
    """Return the resource that raw data holds, None if it has errors, and all its problems."""
    resource, problems = decode(raw)
    if resource is None:
        return None, problems
    problems = [*problems, *check_resource(resource)]
    if fits is not None:
        problems += check_values(resource, fits)
    failed = any(problem.severity is Severity.ERROR for problem in problems)
    return None if failed else resource, problems


def check_resource(resource: Resource) -> list[Problem]:
    """Return what is wrong with a resource that could be decoded."""
    return [*validate(resource), *_of_mesh_config(resource)]


def check_document(
    document: Document, complete: Complete = as_written, fits: Fits | None = None
) -> tuple[Resource | None, list[Problem]]:
    """Return the resource that a document holds, None if it is not good, and all its problems.

    Problems name file and line.
    """
    if document.raw is None:
        return None, list(document.problems)
    resource, problems = check_raw(complete(document.ref, document.raw), fits)
    return resource, [located(problem, document) for problem in problems]


def located(problem: Problem, document: Document) -> Problem:
    """Return `problem` with the place where its field is written, if it has none yet."""
    if problem.line:
        return problem
    return replace(problem, file=document.file, line=document.line_of(problem.path))


def _find(document: Document, complete: Complete, fits: Fits | None) -> Finding:
    resource, problems = check_document(document, complete, fits)
    kind, namespace, name = parse_ref(document.ref) if document.ref else ("", "", "")
    return Finding(
        file=document.file,
        document=document.index,
        kind=identify(document.raw).kind if document.raw is not None else kind.partition(".")[0],
        name=name,
        namespace=namespace,
        ref=document.ref,
        resource=resource,
        errors=tuple(it for it in problems if it.severity is Severity.ERROR),
        warnings=tuple(it for it in problems if it.severity is Severity.WARNING),
    )


def _once(finding: Finding, first: Finding) -> Finding:
    if finding is first or not finding.ref:
        return finding
    text = f"{finding.ref} is already written in {first.file}, document {first.document}"
    problem = Problem(finding.ref, "metadata.name", reasons.DUPLICATE_RESOURCE, text)
    problem = replace(problem, file=finding.file)
    return replace(finding, resource=None, errors=(*finding.errors, problem))


def _of_mesh_config(resource: Resource) -> list[Problem]:
    """Problems of a ConfigMap that may be the mesh's; which one is, is not known here."""
    if not isinstance(resource, ConfigMap):
        return []
    name = resource.metadata.name
    of_revision = name.startswith(f"{mesh_config.NAME}-") and mesh_config.KEY in resource.data
    return mesh_config.read(resource)[1] if name == mesh_config.NAME or of_revision else []
