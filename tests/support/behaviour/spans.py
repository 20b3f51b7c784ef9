"""Spans: what Envoys export of requests, read from the messages of each collector into one form.

OTLP, Zipkin's JSON of version 2, Datadog's MessagePack of version 0.4 and SkyWalking's segments of
version 3. Kinds are `client` and `server`, which SkyWalking calls exit and entry. Whether a span is
one that a row expects is decided in `judge`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.behaviour.tables import Spanned

_OTLP_KINDS = {2: "server", 3: "client"}
_SEGMENT_KINDS = {0: "server", 1: "client"}
_NO_PARENT = {"", "0"}


class Span(Struct, frozen=True, kw_only=True):
    """A span. Ids are texts that only spans of the same collector compare; no parent is ""."""

    over: str
    service: str
    name: str
    kind: str
    trace: str
    own: str
    parent: str
    tags: Mapping[str, str]


def judge(wanted: Sequence[Spanned], found: Sequence[Span], path: str) -> list[str]:
    """Return which of the spans that a row wants are not in the traces that name its path."""
    traces = {it.trace for it in found if any(path in text for text in it.tags.values())}
    own = [span for span in found if span.trace in traces]
    missing = []
    before: Span | None = None
    for one in wanted:
        before = next((span for span in own if _is(one, span, before)), None)
        if before is None:
            missing.append(f"no span like {one}; there are {own}")
    return missing


def _is(wanted: Spanned, span: Span, before: Span | None) -> bool:
    texts = ((wanted.over, span.over), (wanted.kind, span.kind), (wanted.name, span.name))
    if not _tagged(span.service, wanted.of) or any(text and text != it for text, it in texts):
        return False
    if wanted.place == "root" and span.parent:
        return False
    if wanted.place == "child" and (before is None or not _child(span, before)):
        return False
    return all(_tagged(span.tags.get(name), text) for name, text in wanted.tags.items())


def _child(span: Span, before: Span) -> bool:
    return (span.trace, span.parent) == (before.trace, before.own)


def _tagged(found: str | None, wanted: str | None) -> bool:
    if wanted is not None and wanted.startswith("~"):
        return found is not None and re.search(wanted[1:], found) is not None
    return found == wanted


def otlp(request: ExportTraceServiceRequest, over: str) -> Iterator[Span]:
    """Yield the spans of an OTLP request; what it says of the service are tags `resource.…`."""
    for group in request.resource_spans:
        resource = attributes(group.resource.attributes)
        said = {f"resource.{name}": text for name, text in resource.items()}
        for scope in group.instrumentation_library_spans:  # the older name of scope_spans
            for span in scope.spans:
                yield Span(
                    over=over,
                    service=resource.get("service.name", ""),
                    name=span.name,
                    kind=_OTLP_KINDS.get(span.kind, str(span.kind)),
                    trace=span.trace_id.hex(),
                    own=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    tags={**said, **attributes(span.attributes)},
                )


def attributes(pairs: Iterable[Any]) -> dict[str, str]:
    """Return OTLP's attributes as texts."""
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: Any) -> str:  # noqa: ANN401
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)) if kind else ""


def zipkin(body: bytes) -> Iterator[Span]:
    """Yield the spans of a request to Zipkin."""
    for span in json.loads(body):
        yield Span(
            over="zipkin",
            service=span.get("localEndpoint", {}).get("serviceName", ""),
            name=span.get("name", ""),
            kind=span.get("kind", "").lower(),
            trace=span["traceId"],
            own=span["id"],
            parent=span.get("parentId", ""),
            tags=span.get("tags", {}),
        )


def datadog(body: bytes) -> Iterator[Span]:
    """Yield the spans of a request to Datadog's agent; what is only a number is a tag, too."""
    for group in msgspec.msgpack.decode(body):
        for span in group:
            numbers = {name: f"{value:g}" for name, value in span.get("metrics", {}).items()}
            parent = str(span.get("parent_id", 0))
            yield Span(
                over="datadog",
                service=span["service"],
                name=span["name"],
                kind=span["meta"].get("span.kind", ""),
                trace=str(span["trace_id"]),
                own=str(span["span_id"]),
                parent="" if parent in _NO_PARENT else parent,
                tags={**numbers, **span["meta"]},
            )


def skywalking(segment: bytes) -> Iterator[Span]:
    """Yield the spans of a segment. Its messages are read by the numbers of their fields."""
    read = _fields(segment)
    trace, own = (read[number][0].decode() for number in (1, 2))
    for span in map(_fields, read.get(3, ())):
        yield Span(
            over="skywalking",
            service=read[4][0].decode(),
            name=span[6][0].decode(),
            kind=_SEGMENT_KINDS.get(span.get(8, [0])[0], ""),
            trace=trace,
            own=f"{own}/{span.get(1, [0])[0]}",
            parent=_parent(own, span),
            tags=dict(map(_pair, span.get(12, ()))),
        )


def _parent(own: str, span: Mapping[int, list[Any]]) -> str:
    """Return the span before: of the same segment, or one that the segment refers to."""
    number = span.get(2, [0])[0]
    if number < 1 << 31:  # not negative
        return f"{own}/{number}"
    for reference in map(_fields, span.get(5, ())):
        return f"{reference[3][0].decode()}/{reference.get(4, [0])[0]}"
    return ""


def _pair(body: bytes) -> tuple[str, str]:
    read = _fields(body)
    return read[1][0].decode(), read.get(2, [b""])[0].decode()


def _fields(body: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    unknown = UnknownFieldSet(Empty.FromString(body))
    for index in range(len(unknown)):
        field = unknown[index]
        found.setdefault(field.field_number, []).append(field.data)
    return found
