"""Documents: the text of a manifest file, as one raw mapping for each resource in it.

Whatever the text is, reading ends in time linear in its size and never raises: what cannot be read
becomes a Problem with file and line, and the other documents of the file still come out. A line
that starts with `---` or `...` ends a document wherever it stands in YAML, also inside of block
scalars, so that the file is split there before anything is parsed.

libyaml scans, because its events are fast and made without recursion; `libs.api.composer` builds
the data. libyaml's own composer recurses and takes the process down on deep nesting. Aliases are
refused: a few of them expand to gigabytes. JSON is read as the YAML that it is.

Not decided here: what the kinds are (`libs.api.registry`) and whether fields are right (`decode`).
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from libs.api import reasons
from libs.api.composer import MAX_FAULTS, Composer, Fault
from libs.api.identity import identify
from libs.api.lines import Lines
from libs.api.path import join
from libs.api.problem import Problem
from libs.model.ids import Ref

MAX_BYTES = 1024 * 1024
"""Of one document. etcd's values are not larger either."""

MAX_DOCUMENTS = 20_000
"""In one file, items of lists included."""

Raw = Mapping[str, object]

_BREAKS = "\n\r\x85\u2028\u2029"
_MARKER = re.compile(rf"(?:(?<=[{_BREAKS}])|\A)(?:---|\.\.\.)(?=[ \t{_BREAKS}]|\Z)")
_COMMENT = rf"[ \t{_BREAKS}]++|#[^{_BREAKS}]*+"
_DIRECTIVE = rf"(?<![^{_BREAKS}])%(?:YAML|TAG)[^{_BREAKS}]*+"
_EMPTY = re.compile(rf"---(?:{_COMMENT})*+|(?:{_COMMENT}|{_DIRECTIVE})*+")


class Source(Struct, frozen=True, dict=True):
    """The text of one YAML document; `line` is its first line in the file, counted from 1."""

    line: int
    data: bytes

    @cached_property
    def lines(self) -> Lines:
        """Where its fields are; found when somebody asks."""
        return Lines(self.data)


class Document(Struct, frozen=True, kw_only=True):
    """One resource of a file, or the Problems for which it cannot be read.

    `index` counts the documents of the file from 0, empty ones left out; the items of a
    `kind: List` share the index of their list. `ref` is known of a broken document too, if its
    name comes before the break.
    """

    file: str
    index: int
    ref: Ref
    raw: Raw | None = None
    problems: tuple[Problem, ...] = ()
    source: Source
    prefix: str = ""  # the path of an item in its list

    @property
    def line(self) -> int:
        """The first line of the resource, counted from 1."""
        return self.line_of("")

    def line_of(self, path: str) -> int:
        """Return the line of a field, or of the nearest enclosing one that is written."""
        dot = "." if self.prefix and path and not path.startswith("[") else ""
        return self.source.line + self.source.lines.find(f"{self.prefix}{dot}{path}")


def read(text: str, file: str) -> list[Document]:
    """Return every resource of `text`, in order; `file` is only named in Problems."""
    documents: list[Document] = []
    for index, (line, chunk) in enumerate(_chunks(text.removeprefix("\ufeff"))):
        if len(documents) >= MAX_DOCUMENTS:
            fault = Fault(
                0, "", reasons.TOO_LARGE, f"more than {MAX_DOCUMENTS} resources in a file"
            )
            documents.append(_broken(file, Source(line, b""), [fault], index=index))
            break
        documents += _read_one(chunk, file, index=index, line=line)
    return documents


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Return `(line, text)` of each document that is not empty."""
    starts = [0, *(found.start() for found in _MARKER.finditer(text)), len(text)]
    line = 1
    for start, end in itertools.pairwise(starts):
        begin = start + 3 if text.startswith("...", start) else start
        if not _EMPTY.fullmatch(text, begin, end):
            yield line, text[begin:end]
        line += text.count("\n", start, end)


def _read_one(chunk: str, file: str, *, index: int, line: int) -> list[Document]:
    try:
        data = chunk.encode()
    except UnicodeEncodeError:
        fault = Fault(0, "", reasons.INVALID_YAML, "not text: half of a surrogate pair")
        return [_broken(file, Source(line, b""), [fault], index=index)]
    source = Source(line, data)
    if len(data) > MAX_BYTES:
        text = f"{len(data)} bytes; a document has at most {MAX_BYTES}"
        fault = Fault(0, "", reasons.TOO_LARGE, text)
        return [_broken(file, Source(line, b""), [fault], index=index)]
    composer = Composer()
    root = composer.compose(data)
    if composer.faults:
        return [_broken(file, source, composer.faults, index=index, root=root)]
    return [] if root is None else _expand(root, file, index=index, source=source)


def _expand(root: object, file: str, *, index: int, source: Source) -> list[Document]:
    """Return the resources of a document: itself, or the items of a list, however nested."""
    documents: list[Document] = []
    faults: list[Fault] = []
    pending = [("", root)]
    while pending:
        prefix, raw = pending.pop()
        if not isinstance(raw, dict):
            line = source.lines.find(prefix) if len(faults) < MAX_FAULTS else 0
            faults.append(
                Fault(line, prefix, reasons.NOT_AN_OBJECT, "a resource must be a mapping")
            )
        elif (items := _items(raw)) is not None:
            steps = [(join(prefix, "items", at), item) for at, item in enumerate(items)]
            pending.extend(reversed(steps))
        else:
            ref = identify(raw).ref
            documents.append(
                Document(file=file, index=index, ref=ref, raw=raw, source=source, prefix=prefix)
            )
    if faults:
        documents.append(_broken(file, source, faults[:MAX_FAULTS], index=index))
    return documents


def _items(raw: Mapping[str, object]) -> list[object] | None:
    """Return the items if `raw` is a list as `kubectl get -o yaml` prints it, else None."""
    kind, items = raw.get("kind"), raw.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        return None
    if kind == "List":
        return items
    # The items of a typed list, such as ServiceList, do not repeat their kind.
    identity = {"apiVersion": raw.get("apiVersion"), "kind": kind.removesuffix("List")}
    return [{**identity, **item} if isinstance(item, dict) else item for item in items]


def _broken(
    file: str, source: Source, faults: list[Fault], *, index: int, root: object = None
) -> Document:
    ref = identify(root).ref
    problems = tuple(
        Problem(ref, fault.path, fault.reason, fault.text, file=file, line=source.line + fault.line)
        for fault in faults
    )
    return Document(file=file, index=index, ref=ref, problems=problems, source=source)
