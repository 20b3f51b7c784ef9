"""Shape: whether data has the form of a pod, as far as injection looks into it.

An API server has always checked more than this. A file has not been checked at all, and neither has
what a stranger sends to the port.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

_Data = dict[str, Any]


class _Reference(Struct):
    kind: str
    name: str


class _Metadata(Struct, rename="camel"):
    name: str | None = None
    generate_name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Reference] | None = None


class _Variable(Struct, rename="camel"):
    name: str
    value: str | None = None
    value_from: _Data | None = None


class _Port(Struct, rename="camel"):
    container_port: int
    name: str | None = None
    protocol: str | None = None


class _Asked(Struct):
    port: int | str | None = None
    path: str | None = None


class _Probe(Struct, rename="camel"):
    http_get: _Asked | None = None
    tcp_socket: _Asked | None = None
    grpc: _Asked | None = None


class _Lifecycle(Struct, rename="camel"):
    pre_stop: _Probe | None = None
    post_start: _Probe | None = None


class _Named(Struct):
    name: str | None = None


class _Container(Struct, rename="camel"):
    name: str
    env: list[_Variable] | None = None
    ports: list[_Port] | None = None
    volume_mounts: list[_Data] | None = None
    readiness_probe: _Probe | None = None
    liveness_probe: _Probe | None = None
    startup_probe: _Probe | None = None
    lifecycle: _Lifecycle | None = None


class _Spec(Struct, rename="camel"):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    volumes: list[_Named] | None = None
    image_pull_secrets: list[_Named] | None = None
    security_context: _Data | None = None
    host_network: bool | None = None


class _Pod(Struct):
    spec: _Spec
    metadata: _Metadata | None = None


def wrong(pod: Mapping[str, Any]) -> str:
    """Return what is not as it is in a pod, or an empty text."""
    try:
        msgspec.convert(pod, _Pod)
    except (msgspec.ValidationError, RecursionError) as error:
        return f"not a pod: {error}"
    return ""
