"""Collecting: a server that takes traces and logs of every kind, and an external authorizer.

`collector` (127.110.4.45) takes OTLP, SkyWalking's segments and Envoy's access log service over
gRPC on 4317, OTLP, Zipkin's and Datadog's spans over HTTP on 4318. Each span and log record becomes
a line, `<kind> <service> <name> key=value …`; kinds are `span` (OTLP), `zipkin`, `datadog`,
`skywalking`, `log` (OTLP), `als` and `als-tcp`. `judge` (46) lets pass whoever brings `x-key:
good`, asked over gRPC on 9191; over HTTP any application can be asked, and does as `x-do` says.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from envoy.service.auth.v3 import external_auth_pb2
from msgspec import structs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.behaviour import spans
from tests.support.behaviour.spans import Span

Context = grpc.aio.ServicerContext[Any, Any]

OTLP_PORT, HTTP_PORT, CHECK_PORT = 4317, 4318, 9191


class Collector:
    """The lines of all that was exported, and the spans among it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.spans: list[Span] = []

    def take(self, found: Iterable[Span], call: Mapping[str, str]) -> None:
        """Take spans; the headers of the call that brought them are tags `call.<name>`, too."""
        said = {f"call.{name}": text for name, text in call.items()}
        for one in found:
            span = structs.replace(one, tags={**one.tags, **said})
            self.spans.append(span)
            kind = "span" if span.over.startswith("otlp") else span.over
            self._add(kind, span.service, span.name, span.tags)

    def logs(self, request: ExportLogsServiceRequest) -> None:
        """Take log records."""
        for group in request.resource_logs:
            for scope in group.instrumentation_library_logs:  # the older name of scope_logs
                for record in scope.logs:
                    body = record.body.string_value
                    self._add("log", "", body, spans.attributes(record.attributes))

    def entries(self, message: StreamAccessLogsMessage, log: str) -> None:
        """Take entries of Envoy's own access log service under the name of their log."""
        for entry in message.http_logs.log_entry:
            said = {
                "code": str(entry.response.response_code.value),
                **{f"request.{it}": text for it, text in entry.request.request_headers.items()},
                **{f"response.{it}": text for it, text in entry.response.response_headers.items()},
                **_common(entry.common_properties),
            }
            self._add("als", log, entry.request.path, said)
        for connection in message.tcp_logs.log_entry:
            number = connection.connection_properties.received_bytes
            said = {"received": str(number), **_common(connection.common_properties)}
            self._add("als-tcp", log, "", said)

    def _add(self, kind: str, service: str, name: str, attributes: Mapping[str, str]) -> None:
        pairs = " ".join(f"{key}={value}" for key, value in sorted(attributes.items()))
        self.lines.append(f"{kind} {service} {name} {pairs}")


def _common(entry: AccessLogCommon) -> dict[str, str]:
    return {
        "cluster": entry.upstream_cluster,
        "state": ",".join(sorted(entry.filter_state_objects)),
    }


@asynccontextmanager
async def collecting(collector: Collector, address: str, judge: str) -> AsyncIterator[None]:
    """Run the collector and the authorizer at their addresses."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(_handlers(collector)))
    server.add_insecure_port(f"{address}:{OTLP_PORT}")
    server.add_insecure_port(f"{judge}:{CHECK_PORT}")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await _take(collector, reader, writer)
        except (OSError, EOFError):
            pass  # the exporter has gone
        finally:
            writer.close()

    await server.start()
    plain = await asyncio.start_server(serve, address, HTTP_PORT)
    try:
        yield
    finally:
        plain.close()
        await server.stop(None)


def _handlers(collector: Collector) -> Iterator[grpc.GenericRpcHandler]:
    async def traces(request: ExportTraceServiceRequest, context: Context) -> bytes:
        collector.take(spans.otlp(request, "otlp"), _metadata(context))
        return b""

    async def logs(request: ExportLogsServiceRequest, _: object) -> bytes:
        collector.logs(request)
        return b""

    for name, behaviour, kind in (
        ("trace.v1.TraceService", traces, ExportTraceServiceRequest),
        ("logs.v1.LogsService", logs, ExportLogsServiceRequest),
    ):
        method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            behaviour, kind.FromString
        )
        service = f"opentelemetry.proto.collector.{name}"
        yield grpc.method_handlers_generic_handler(service, {"Export": method})
    check = grpc.unary_unary_rpc_method_handler(
        _check,
        external_auth_pb2.CheckRequest.FromString,
        external_auth_pb2.CheckResponse.SerializeToString,
    )
    service = "envoy.service.auth.v3.Authorization"
    yield grpc.method_handlers_generic_handler(service, {"Check": check})
    yield from _streams(collector)


def _metadata(context: Context) -> dict[str, str]:
    return {key: str(value) for key, value in context.invocation_metadata() or ()}


def _streams(collector: Collector) -> Iterator[grpc.GenericRpcHandler]:
    async def segments(messages: AsyncIterator[bytes], context: Context) -> bytes:
        async for message in messages:
            collector.take(spans.skywalking(message), _metadata(context))
        return b""

    async def entries(messages: AsyncIterator[StreamAccessLogsMessage], _: object) -> bytes:
        log = ""
        async for message in messages:
            log = message.identifier.log_name or log  # only the first of a stream says it
            collector.entries(message, log)
        return b""

    report: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(segments)
    service = "skywalking.v3.TraceSegmentReportService"
    yield grpc.method_handlers_generic_handler(service, {"collect": report})
    stream: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
        entries, StreamAccessLogsMessage.FromString
    )
    service = "envoy.service.accesslog.v3.AccessLogService"
    yield grpc.method_handlers_generic_handler(service, {"StreamAccessLogs": stream})


async def _check(
    request: external_auth_pb2.CheckRequest, _: object
) -> external_auth_pb2.CheckResponse:
    answer = external_auth_pb2.CheckResponse()
    asked = request.attributes
    if asked.request.http.headers.get("x-key") == "good":
        for key, value in (("x-judge", "yes"), ("x-caller", asked.source.principal)):
            header = base_pb2.HeaderValue(key=key, value=value)
            answer.ok_response.headers.add(header=header)
    else:
        answer.status.code = grpc.StatusCode.PERMISSION_DENIED.value[0]
    return answer


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    """Return a body of a known length, or with -1 one that comes in chunks."""
    if length >= 0:
        return await reader.readexactly(length)
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


async def _take(
    collector: Collector, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    first, *lines = top.strip().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    path = first.split()[1]
    body = await _body(reader, int(fields.get("content-length", "-1")))
    if path == "/v1/traces":
        request = ExportTraceServiceRequest.FromString(body)
        collector.take(spans.otlp(request, "otlp-http"), fields)
    elif path == "/v0.4/traces":
        collector.take(spans.datadog(body), fields)
    elif path.endswith("/api/v2/spans"):
        collector.take(spans.zipkin(body), {**fields, ":path": path})
    # What else Datadog's library asks its agent is answered, and counts for nothing.
    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")
    await writer.drain()
