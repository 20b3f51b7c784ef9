"""Settings of one proxy, read from the JSON form of Istio's ProxyConfig.

An agent says in its node's metadata, as PROXY_CONFIG, what was in force when its pod was injected;
the mesh's `defaultConfig` has the same form and holds for proxies that say nothing.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from libs.model.proxy_settings import (
    Collector,
    Connections,
    Headers,
    ProxySettings,
    SpanDefaults,
    Tag,
)
from libs.model.traffic import ClientTls, TlsMode
from libs.proxy.errors import NodeError

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_UNSET = "UNDEFINED"
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class _Part(Struct, frozen=True, rename="camel"):
    """A part of it; what is not listed is the agent's business."""


class _Topology(_Part, frozen=True):
    num_trusted_proxies: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    forward_client_cert_details: str = _UNSET
    proxy_protocol: dict[str, Any] | None = None


class _Disabled(_Part, frozen=True):
    disabled: bool = False


class _Enabled(_Part, frozen=True):
    enabled: bool = False


class _Server(_Part, frozen=True):
    disabled: bool = False
    value: str = ""


class _CertDetails(_Part, frozen=True):
    subject: bool = True
    uri: bool = True
    dns: bool = True
    cert: bool = False
    chain: bool = False


class _Headers(_Part, frozen=True):
    forwarded_client_cert: str = _UNSET
    set_current_client_cert_details: _CertDetails = _CertDetails()
    request_id: _Disabled = _Disabled()
    server: _Server = _Server()
    attempt_count: _Disabled = _Disabled()
    envoy_debug_headers: _Disabled = _Disabled()
    preserve_http1_header_case: bool = False
    x_forwarded_host: _Enabled = _Enabled()
    x_forwarded_port: _Enabled = _Enabled()


class _Connections(_Part, frozen=True):
    profile: str = "SIDECAR"
    listener_per_connection_buffer_limit_bytes: _Count | None = None
    cluster_per_connection_buffer_limit_bytes: _Count | None = None
    http_idle_timeout: str | None = None
    http_max_connection_duration: str | None = None
    http_drain_timeout: str | None = None
    http_request_timeout: str | None = None
    http_request_headers_timeout: str | None = None
    http_stream_idle_timeout: str | None = None
    http_max_stream_duration: str | None = None
    http_max_concurrent_streams: _Count | None = None
    http2_initial_stream_window_size: _Count | None = None
    http2_initial_connection_window_size: _Count | None = None
    http_headers_with_underscores_action: str = ""
    http_merge_slashes: bool | None = None
    http_path_with_escaped_slashes_action: str = ""


class _Literal(_Part, frozen=True):
    value: str = ""


class _Source(_Part, frozen=True):
    name: str = ""
    default_value: str = ""


class _Tag(_Part, frozen=True):
    literal: _Literal | None = None
    environment: _Source | None = None
    header: _Source | None = None


class _Collector(_Part, frozen=True):
    address: str = ""


class _Tls(_Part, frozen=True):
    mode: str = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None


class _Tracing(_Part, frozen=True):
    zipkin: _Collector | None = None
    datadog: _Collector | None = None
    tls_settings: _Tls | None = None
    custom_tags: dict[str, _Tag] = {}
    max_path_tag_length: int = 0
    sampling: float | None = None
    enable_istio_tags: bool = True


class _Config(_Part, frozen=True):
    gateway_topology: _Topology = _Topology()
    proxy_headers: _Headers = _Headers()
    connection_settings: _Connections = _Connections()
    tracing: _Tracing = _Tracing()


def read(raw: Mapping[str, object]) -> ProxySettings:
    """Return the settings that ProxyConfig holds.

    Raises:
        NodeError: a field has another type than ProxyConfig gives it.

    """
    try:
        config = msgspec.convert(raw, _Config)
        return _settings(config)
    except (msgspec.ValidationError, ValueError) as error:
        message = f"PROXY_CONFIG: {error}"
        raise NodeError(message) from error


def _settings(config: _Config) -> ProxySettings:
    topology = config.gateway_topology
    details = topology.forward_client_cert_details
    return ProxySettings(
        trusted_proxies=topology.num_trusted_proxies,
        forward_client_cert="SANITIZE_SET" if details == _UNSET else details,
        accept_proxy_protocol=topology.proxy_protocol is not None,
        connections=_connections(config.connection_settings),
        headers=_headers(config.proxy_headers),
        spans=_spans(config.tracing),
    )


def _connections(written: _Connections) -> Connections:
    return Connections(
        edge=written.profile == "EDGE",
        listener_buffer=written.listener_per_connection_buffer_limit_bytes,
        cluster_buffer=written.cluster_per_connection_buffer_limit_bytes,
        idle_timeout=_milliseconds(written.http_idle_timeout),
        max_duration=_milliseconds(written.http_max_connection_duration),
        drain_timeout=_milliseconds(written.http_drain_timeout),
        request_timeout=_milliseconds(written.http_request_timeout),
        headers_timeout=_milliseconds(written.http_request_headers_timeout),
        stream_idle_timeout=_milliseconds(written.http_stream_idle_timeout),
        max_stream_duration=_milliseconds(written.http_max_stream_duration),
        max_streams=written.http_max_concurrent_streams,
        stream_window=written.http2_initial_stream_window_size,
        connection_window=written.http2_initial_connection_window_size,
        underscores=_choice(written.http_headers_with_underscores_action, _UNDERSCORES),
        merge_slashes=written.http_merge_slashes,
        escaped_slashes=_choice(written.http_path_with_escaped_slashes_action, _SLASHES),
    )


_UNDERSCORES = {
    f"HEADERS_WITH_UNDERSCORES_{action}": action
    for action in ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
}
_SLASHES = {
    action: action
    for action in (
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    )
}


def _choice(written: str, known: Mapping[str, str]) -> str:
    return known.get(written, "")


def _milliseconds(written: str | None) -> int | None:
    if written is None:
        return None
    found = _DURATION.fullmatch(written)
    if found is None:
        message = f"not a duration such as 1.5s: {written[:64]!r}"
        raise ValueError(message)
    return round(float(found[1]) * 1000)


def _headers(written: _Headers) -> Headers:
    forwarded, details = written.forwarded_client_cert, written.set_current_client_cert_details
    return Headers(
        forwarded_client_cert="" if forwarded == _UNSET else forwarded,
        cert_subject=details.subject,
        cert_uri=details.uri,
        cert_dns=details.dns,
        cert=details.cert,
        cert_chain=details.chain,
        request_id=not written.request_id.disabled,
        server=written.server.value,
        keep_server=written.server.disabled,
        attempt_count=not written.attempt_count.disabled,
        debug=not written.envoy_debug_headers.disabled,
        keep_case=written.preserve_http1_header_case,
        forwarded_host=written.x_forwarded_host.enabled,
        forwarded_port=written.x_forwarded_port.enabled,
    )


def _spans(written: _Tracing) -> SpanDefaults:
    return SpanDefaults(
        sampling=written.sampling or None,
        tags=tuple(_tag(name, tag) for name, tag in sorted(written.custom_tags.items())),
        max_path_length=max(written.max_path_tag_length, 0),
        mesh_tags=written.enable_istio_tags,
        collector=_collector(written),
    )


def _collector(written: _Tracing) -> Collector | None:
    """Return where spans go; nowhere if they would have to go there in plaintext."""
    server, tls = written.zipkin or written.datadog, written.tls_settings
    host, _, port = server.address.rpartition(":") if server else ("", "", "")
    if not host or not _PORT.fullmatch(port) or (tls is not None and tls.credential_name):
        return None
    return Collector(
        host=host.removeprefix("[").removesuffix("]"),
        port=int(port),
        datadog=written.zipkin is None,
        tls=_client_tls(tls) if tls else None,
    )


def _client_tls(written: _Tls) -> ClientTls:
    return ClientTls(
        mode=TlsMode(written.mode),
        certificate=written.client_certificate,
        private_key=written.private_key,
        ca_certificates=written.ca_certificates,
        ca_crl=written.ca_crl,
        subject_alt_names=written.subject_alt_names,
        sni=written.sni,
        insecure_skip_verify=written.insecure_skip_verify,
    )


def _tag(name: str, tag: _Tag) -> Tag:
    if tag.environment:
        return name, "environment", tag.environment.name, tag.environment.default_value
    if tag.header:
        return name, "header", tag.header.name, tag.header.default_value
    return name, "literal", tag.literal.value if tag.literal else "", ""
