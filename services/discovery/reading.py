"""Reading: what one file says, document by document. Pure, and heavy enough for a thread."""

from msgspec import Struct

from libs.api import documents, reasons
from libs.api.check import Complete, as_written, check_document
from libs.api.documents import Document
from libs.api.problem import Problem, Severity
from libs.api.resource import Resource
from libs.model.ids import Ref


class Entry(Struct, frozen=True):
    """A resource as one document writes it; None if the document is bad."""

    ref: Ref
    document: Document
    resource: Resource | None


class Reading(Struct, frozen=True):
    """What a file says. `partial`: it may say more, in documents that do not say whose they are."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()  # with file and line
    partial: bool = False


def read(name: str, text: str, complete: Complete = as_written) -> Reading:
    """Return what a file says; mistakes come as Problems, and leave the other documents be."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    partial = False
    for document in documents.read(text, name):
        resource, found = check_document(document, complete)
        problems += found
        if document.ref and (resource is not None or _is_bad(found)):
            entries.append(Entry(document.ref, document, resource))
        partial |= not document.ref
    return Reading(tuple(entries), tuple(problems), partial)


def unreadable(name: str, fault: str) -> Reading:
    """Return what is known of a file that cannot be read."""
    text = f"{name} cannot be read: {fault}"
    problem = Problem(Ref(""), "", reasons.UNREADABLE_FILE, text, file=name, line=1)
    return Reading(problems=(problem,), partial=True)


def _is_bad(problems: list[Problem]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)
