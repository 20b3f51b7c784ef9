"""Problem: a mistake in the user's configuration, as data. It is never raised."""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref


class Severity(StrEnum):
    """ERROR: the resource, or the part named, is not used. WARNING: it is, but hardly as meant."""

    ERROR = "error"
    WARNING = "warning"


class Problem(Struct, frozen=True, order=True, gc=False):
    """What is wrong, where, and why.

    `path` is a field path in the resource (`spec.http[0].match[0].uri`), `reason` a CamelCase
    constant of `libs.api.reasons`, `text` one sentence for a person. `file` and `line` say where
    the resource was written, if it came from a file; whoever reads the file fills them in.
    """

    ref: Ref
    path: str
    reason: str
    text: str
    severity: Severity = Severity.ERROR
    file: str = ""
    line: int = 0
