"""The page docs/reference/behaviour.md: the tables of tests/envoy/behaviour, to be read."""

from collections.abc import Iterator, Mapping

import yaml

from tests.support.behaviour.tables import (
    Count,
    Counted,
    Feature,
    Row,
    Spanned,
    Table,
    features,
)
from tests.support.behaviour.world import MANIFESTS

_HEAD = """# Behaviour

What configuration does to traffic, feature by feature: each row was asked of real Envoys,
configured by the same generators and xDS sessions as any proxy, and answered as the table says.
`tests/envoy/behaviour` asks all {rows} rows again.

## How to read the tables

- Who asks: `client` (namespace `shop`) and `guest` (namespace `other`) are programs behind
  sidecars, `outside` is a program that asks the gateway (namespace `edge`), and `neighbour` is
  one without a sidecar that dials a pod itself, in clear text unless it proves an identity. Where
  nobody is named it is `client`. `program` is a gRPC program that speaks xDS itself, and needs no
  sidecar.
- Where no port is written it is 8080, and 8443 for `https`. Port 80 is asked of the sidecar as an
  HTTP proxy. Each request has a connection of its own.
- Who answers: `web-v1` and `web-v2` are the pods of the Services `web` (HTTP), `calls` (gRPC),
  `bytes` (TCP), `any` (detected) and `secure` (TLS of its own) in `shop`. `books` is a pod
  without a sidecar in `other`, behind `books`, `shelf` (TCP) and `vault` (TLS).
- The header `x-do` tells an application what to do: `503`, `wait 0.5`, `503 twice`, `reset`, with
  `at web-v2` if only that one shall. `x-give` is a header of its answer.
- No answer means that the connection was refused or cut. Flags are Envoy's response flags, in the
  access log of the first Envoy on the way or, where it says so, of the server's. `~` begins an
  expression.
- Applications ask their sidecars' own listeners. What is intercepted instead is shown by
  `tests/netns`, what becomes of modules that agents fetch by `tests/envoy/test_agent_modules.py`.
- `@keys@` stands for the issuer's key set, `@token@` for the token, `@folder@` for a folder of
  files, `@port@` for a port that is free.
"""


def page(header: str) -> str:
    """Return the page."""
    found = [feature for _, feature in features()]
    rows = sum(len(table.rows) for feature in found for table in feature.tables)
    contents = "".join(f"- {_link(feature.title)}\n" for feature in found)
    parts = [header + _HEAD.format(rows=rows), "\n", contents, *map(_feature, found)]
    parts.append(f"\n## The mesh\n\n{_yaml(MANIFESTS.read_text())}")
    return "".join(parts)


def _link(title: str) -> str:
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return f"[{title}](#{kept.replace(' ', '-')})"


def _feature(feature: Feature) -> str:
    parts = [f"\n## {feature.title}\n"]
    if feature.about:
        parts.append(f"\n{feature.about.strip()}\n")
    parts += _given("For all of it", feature.given, feature.mesh)
    parts += map(_table, feature.tables)
    return "".join(parts)


def _table(table: Table) -> str:
    parts = [f"\n### {table.name[:1].upper()}{table.name[1:]}\n"]
    if table.about:
        parts.append(f"\n{table.about.strip()}\n")
    parts += _given("Given", table.given, table.mesh)
    if table.problems:
        parts.append(f"\nFlagged: {', '.join(f'`{reason}`' for reason in table.problems)}.\n")
    parts.append("\n| what | request | outcome |\n| --- | --- | --- |\n")
    for row in table.rows:
        cells = (row.what, _request(row), "; ".join(_outcome(row)))
        parts.append(f"| {' | '.join(map(_cell, cells))} |\n")
    return "".join(parts)


def _given(word: str, manifests: str, mesh: Mapping[str, object]) -> Iterator[str]:
    if mesh:
        yield f"\n{word}, MeshConfig:\n\n{_yaml(yaml.safe_dump(dict(mesh), sort_keys=False))}"
    if manifests:
        yield f"\n{word}:\n\n{_yaml(manifests)}"


def _yaml(text: str) -> str:
    return f"```yaml\n{text.strip()}\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("\0", "\\0")


def _request(row: Row) -> str:
    by_sidecar = row.source in {"client", "guest"}
    body = f"body `{row.body}`" if row.body else ""
    several = f"{row.times} times{' at once' if row.together else ''}" if row.times > 1 else ""
    parts = [
        "" if row.source == "client" else f"{row.source}:",
        f"`{row.ask or 'send ' + row.send}`",
        {"h1": "", "h2": "over HTTP/2", "grpc": "over gRPC"}[row.over],
        *(f"`{name}: {value}`" for name, value in row.headers.items()),
        f"token `{_inline(dict(row.token))}`" if row.token is not None else "",
        "" if by_sidecar or row.to == "web-v1" else f"to {row.to}",
        f"at {row.dial}" if row.dial else "",
        f"after a line `{row.preface}`" if row.preface else "",
        *_tls(row),
        body,
        several,
        f"with {row.pause:g} s between them" if row.pause else "",
        "and then nothing" if row.cut else "",
        f"and then nothing for {row.kept:g} s" if row.kept else "",
    ]
    return " ".join(filter(None, parts))


def _tls(row: Row) -> Iterator[str]:
    if row.proving:
        yield f"proving `{row.proving}`"
    if row.server_name:
        yield f"SNI `{row.server_name}`"
    if row.tls_version:
        yield f"with TLS {row.tls_version}"
    if row.alpn:
        yield f"ALPN `{' '.join(row.alpn)}`"


def _inline(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.strip()


def _outcome(row: Row) -> Iterator[str]:
    yield from _answer(row)
    if row.by:
        yield f"by {row.by if isinstance(row.by, str) else ' and '.join(row.by)}"
    if row.sticky:
        yield "always by the same"
    yield from (f"{name} {low} to {high} %" for name, (low, high) in row.share.items())
    if row.text is not None:
        yield f"“{row.text}”"
    yield from _headers("answer has", row.got)
    yield from _headers("application got", row.seen)
    if row.peer is not None:
        yield f"caller proved `{row.peer}`" if row.peer else "caller proved nothing"
    if row.certificate:
        yield f"server proved `{row.certificate}`"
    yield from (f"{name} got {_count(wanted)}" for name, wanted in row.reached.items())
    yield from _connections(row)
    if row.seconds:
        yield f"after {row.seconds:g} s"
    yield from _told(row)


def _connections(row: Row) -> Iterator[str]:
    if row.cut:
        yield "then cut"
    if row.kept:
        yield "not cut"
    for name, wanted in row.connections.items():
        yield f"{name} got them over {_count(wanted)} connection{'' if wanted == 1 else 's'}"
    for name, least in row.ended.items():
        yield f"its connection to {name} ends after {least:g} s of silence"


def _answer(row: Row) -> Iterator[str]:
    if isinstance(row.answer, Mapping):
        counts = (f"{_count(wanted)} times {_status(it)}" for it, wanted in row.answer.items())
        yield ", ".join(counts)
    elif row.answer is not None:
        yield _status(row.answer)
    if row.grpc is not None:
        yield f"gRPC status {row.grpc}"


def _status(status: int) -> str:
    return f"**{status}**" if status else "**no answer**"


def _headers(what: str, headers: Mapping[str, str | None]) -> Iterator[str]:
    for name, value in headers.items():
        yield f"{what} no `{name}`" if value is None else f"{what} `{name}: {value}`"


def _told(row: Row) -> Iterator[str]:
    if row.flags is not None:
        yield f"flags `{row.flags}`"
    yield from _headers("log has", row.logged)
    if row.server_flags is not None:
        yield f"server's flags `{row.server_flags}`"
    yield from _headers("server's log has", row.server_logged)
    if row.unlogged:
        yield f"no log of {' and '.join(row.unlogged)}"
    yield from map(_counted, row.counted)
    if row.exported:
        yield f"collector got {', '.join(f'`{text}`' for text in row.exported)}"
    if row.unexported:
        yield f"collector did not get `{row.unexported}`"
    yield from map(_span, row.spans)


def _span(one: Spanned) -> str:
    place = {"root": "first span", "child": "its child"}.get(one.place, "span")
    words = [
        place,
        f"of `{one.of}`",
        one.kind and f"kind {one.kind}",
        one.over and f"by {one.over}",
    ]
    tags = (f"no `{it}`" if text is None else f"`{it}={text}`" for it, text in one.tags.items())
    return " ".join(filter(None, [*words, ", ".join(tags)]))


def _counted(one: Counted) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in one.labels.items())
    return f"{one.at} counts `{one.metric}{{{labels}}}` + {_count(one.by)}"


def _count(wanted: Count) -> str:
    return str(wanted) if isinstance(wanted, int) else f"{wanted[0]} to {wanted[1]}"
