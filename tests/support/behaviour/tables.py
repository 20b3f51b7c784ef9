"""Tables: what a feature does to traffic, as rows of data. One YAML file a feature.

A row is a request and its outcome, in flat keys, so that files read as documentation; the page
docs/reference/behaviour.md is made from them. How a request is sent is decided in `asking`, and
what is compared in `verdict`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct, field

FOLDER = Path(__file__).parents[2] / "envoy/behaviour"

Count = int | tuple[int, int]
"""So many, or between so many and so many."""


class Counted(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By how much a metric grew at the Envoy of a workload."""

    at: str
    metric: str
    labels: Mapping[str, str] = {}
    by: Count = 1


class Spanned(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A span that a collector gets of the row's request, known by its path."""

    of: str  # the name of the service
    over: str = ""  # otlp, otlp-http, zipkin, datadog or skywalking
    kind: str = ""  # client or server
    name: str = ""
    place: str = ""  # root: it has no parent; child: of the span before it in the row
    tags: Mapping[str, str | None] = {}  # null: not at all


class Row(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request, or several equal ones, and what becomes of it."""

    what: str
    # The request.
    source: str = field(name="as", default="client")  # client, guest, outside, neighbour or program
    ask: str = ""  # `<method> [https://]<host>[:<port>]<path>`
    send: str = ""  # `<host>:<port> <text>`, over TCP
    over: str = "h1"  # h1, h2 or grpc
    headers: Mapping[str, str] = field(name="with", default={})
    body: str = ""
    preface: str = ""  # a line before all else, as a proxy in front writes it
    to: str = "web-v1"  # the pod that a neighbour dials
    dial: str = ""  # `<address>:<port>`, where it is no usual one
    proving: str = ""  # a SPIFFE id, or `stranger`: a certificate of another authority
    server_name: str = ""  # instead of the host's, in TLS
    alpn: Sequence[str] = ()
    tls_version: str = ""  # `1.2`: no newer one
    token: Mapping[str, Any] | None = None  # claims; `key: stranger` signs with another
    times: int = 1
    together: bool = False  # at the same time
    cut: bool = False  # is silent after the answer, until the connection is cut
    kept: float = 0  # is silent after the answer for so many seconds, and the connection is there
    pause: float = 0  # seconds between one request and the next
    # The outcome.
    answer: int | Mapping[int, Count] | None = None  # 0: none, the connection was refused or cut
    grpc: int | None = None  # the status in the trailers
    by: str | Sequence[str] = ""  # the workloads that answered, all of them
    sticky: bool = False  # the same workload answers all, whichever it is
    share: Mapping[str, tuple[int, int]] = {}  # per cent of the answers, from and to
    seen: Mapping[str, str | None] = {}  # headers that the application got; null: not at all
    peer: str | None = None  # the identity that the application was told
    got: Mapping[str, str | None] = {}  # headers of the answer
    text: str | None = None  # that the body holds
    certificate: str = ""  # an expression for a name in the server's certificate
    reached: Mapping[str, Count] = {}  # requests that applications got, by workload
    connections: Mapping[str, Count] = {}  # over how many connections, by workload
    ended: Mapping[str, float] = {}  # after so much silence, at least, they end; by workload
    flags: str | None = None  # Envoy's response flags, at the first Envoy on the way
    server_flags: str | None = None  # at the Envoy of the pod that is dialled
    logged: Mapping[str, str] = {}  # other fields of that Envoy's access log
    server_logged: Mapping[str, str] = {}
    unlogged: Sequence[str] = ()  # workloads whose Envoys log nothing of it
    seconds: float = 0  # at least
    counted: Sequence[Counted] = ()
    exported: Sequence[str] = ()  # texts that a line of the collector holds, soon
    unexported: str = ""  # text that no line of the collector holds by then
    spans: Sequence[Spanned] = ()  # soon


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows under the same configuration, in the order in which they are asked."""

    name: str
    about: str = ""
    given: str = ""  # manifests
    mesh: Mapping[str, Any] = {}  # laid over MeshConfig
    problems: Sequence[str] = ()  # reasons that the manifests are flagged with
    rows: Sequence[Row]


class Feature(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file."""

    title: str
    about: str = ""
    order: int  # on the page
    given: str = ""  # manifests for every table
    mesh: Mapping[str, Any] = {}
    tables: Sequence[Table]


def features(folder: Path = FOLDER) -> Iterator[tuple[str, Feature]]:
    """Yield the features by name, in the order of the page."""
    read = ((path.stem, load(path)) for path in sorted(folder.glob("*.yaml")))
    yield from sorted(read, key=lambda found: (found[1].order, found[0]))


def load(path: Path) -> Feature:
    """Return the feature of a file.

    Raises:
        msgspec.ValidationError: the file is not a feature; the message says where.

    """
    try:
        raw = yaml.load(path.read_text(), yaml.CSafeLoader)  # these files are our own
        return msgspec.convert(raw, Feature, strict=False)
    except msgspec.ValidationError as error:
        error.add_note(str(path))
        raise
