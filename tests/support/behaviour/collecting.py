"""Collecting: a server that takes traces and logs over OTLP and Zipkin, and an external authorizer.

`collector` (127.110.4.45) parses what Envoys export: OTLP over gRPC on 4317, OTLP and Zipkin over
HTTP on 4318. Each span and log record becomes a line `span <service> <name> key=value …` or `log
<service> <body> key=value …`. `judge` (46) lets pass whoever brings `x-key: good`, asked over gRPC
on 9191; over HTTP any application can be asked, and does as `x-do` says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OTLP_PORT, HTTP_PORT, CHECK_PORT = 4317, 4318, 9191


class Collector:
    """The lines of all that was exported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def traces(self, request: ExportTraceServiceRequest) -> None:
        """Take spans."""
        for group in request.resource_spans:
            service = _attributes(group.resource.attributes).get("service.name", "")
            for scope in group.instrumentation_library_spans:  # the older name of scope_spans
                for span in scope.spans:
                    self._add("span", service, span.name, _attributes(span.attributes))

    def logs(self, request: ExportLogsServiceRequest) -> None:
        """Take log records."""
        for group in request.resource_logs:
            for scope in group.instrumentation_library_logs:  # the older name of scope_logs
                for record in scope.logs:
                    body = record.body.string_value
                    self._add("log", "", body, _attributes(record.attributes))

    def zipkin(self, spans: Iterable[dict[str, Any]]) -> None:
        """Take spans in Zipkin's JSON."""
        for span in spans:
            service = span.get("localEndpoint", {}).get("serviceName", "")
            self._add("zipkin", service, span.get("name", ""), span.get("tags", {}))

    def _add(self, kind: str, service: str, name: str, attributes: dict[str, str]) -> None:
        pairs = " ".join(f"{key}={value}" for key, value in sorted(attributes.items()))
        self.lines.append(f"{kind} {service} {name} {pairs}")


def _attributes(pairs: Iterable[Any]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: Any) -> str:  # noqa: ANN401
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)) if kind else ""


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
    async def traces(request: ExportTraceServiceRequest, _: object) -> bytes:
        collector.traces(request)
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
    fields = dict(line.split(": ", 1) for line in top.strip().split("\r\n")[1:])
    body = await _body(reader, int(fields.get("content-length", "-1")))
    if "/v1/traces" in top:
        collector.traces(ExportTraceServiceRequest.FromString(body))
    else:
        collector.zipkin(json.loads(body))
    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
