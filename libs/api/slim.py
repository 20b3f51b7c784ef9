"""Slim: Kubernetes' own objects straight from the API server's bytes, without what is not read.

A cluster has thousands of them, and of each the mesh reads a few hundred bytes out of several
thousand. Unknown fields are passed over by the decoder; annotations that are none of the mesh's,
identities and versions are left out; texts and sets of labels that many objects share are kept
once. Left out, a change of them is no change. What comes out is what `libs.api.decode` makes of the
same object, but for that: tests/unit/libs/api/test_slim.py compares them.
"""

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from functools import partial
from sys import intern
from typing import TypeVar, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from libs.api.kubernetes import (
    AddressType,
    EndpointSlice,
    Namespace,
    Node,
    NodeStatus,
    ObjectReference,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServiceAccount,
    ServiceSpec,
    ServiceStatus,
    SliceEndpoint,
    SlicePort,
)
from libs.api.resource import Metadata, OwnerReference, Part, Resource
from libs.api.scalars import Timestamp
from libs.api.secret import REGISTRY_KEY, Secret

MAX_SHARED = 4096
"""Sets of labels that are remembered; beyond that all are forgotten, which costs some memory."""

_OURS = ("istio.io/", "seine.io/", "ingress")
"""Parts of the names of annotations that the mesh reads."""
_CREDENTIALS = frozenset(
    {"tls.crt", "tls.key", "ca.crt", "ca.crl", "tls.ocsp-staple", "cert", "key", "cacert", "crl"}
) | {REGISTRY_KEY}
"""Keys of Secrets that are read; passwords of others are not even kept."""
_READY = "Ready"


METADATA_ONLY: frozenset[type[Resource]] = frozenset({Namespace, ServiceAccount})
"""Kinds of which no more than the metadata need be asked for."""


class _Metadata(Part, frozen=True):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class _Bare(Part, frozen=True):
    metadata: _Metadata


class _Node(Part, frozen=True):
    metadata: _Metadata
    status: NodeStatus = NodeStatus()


class _Service(Part, frozen=True):
    metadata: _Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class _Pod(Part, frozen=True):
    metadata: _Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class _EndpointSlice(Part, frozen=True):
    metadata: _Metadata
    address_type: AddressType
    endpoints: tuple[SliceEndpoint, ...] | None = None  # the server writes null for none
    ports: tuple[SlicePort, ...] | None = None


class _Secret(Part, frozen=True):
    metadata: _Metadata
    type: str = ""
    data: dict[str, str] = {}


T = TypeVar("T", bound=Hashable)


class Slim:
    """Decodes; what objects share is shared among all that one instance decodes."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, Hashable] = {}
        self._labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        self._makers: Mapping[type[Resource], Callable[[bytes | Raw], Resource]] = {
            **{kind: partial(self._bare, kind) for kind in METADATA_ONLY},
            Node: self._node,
            Service: self._service,
            Pod: self._pod,
            EndpointSlice: self._slice,
            Secret: self._secret,
        }

    def decode(self, kind: type[Resource], raw: bytes | Raw) -> Resource | None:
        """Return the object; None if its kind is not one of those that are decoded here.

        Raises:
            msgspec.DecodeError: it does not look as it should. `libs.api.decode` says why.

        """
        maker = self._makers.get(kind)
        return maker(raw) if maker else None

    def _bare(self, kind: type[Resource], raw: bytes | Raw) -> Resource:
        return kind(self._metadata(_BARE.decode(raw).metadata))

    def _node(self, raw: bytes | Raw) -> Node:
        found = _NODE.decode(raw)
        return Node(self._metadata(found.metadata), found.status)

    def _service(self, raw: bytes | Raw) -> Service:
        found = _SERVICE.decode(raw)
        return Service(self._metadata(found.metadata), found.spec, found.status)

    def _pod(self, raw: bytes | Raw) -> Pod:
        found = _POD.decode(raw)
        spec, status = found.spec, found.status
        several = status.pod_ips if len(status.pod_ips) > 1 else ()
        return Pod(
            self._metadata(found.metadata),
            replace(
                spec,
                containers=self._once(spec.containers),
                init_containers=self._once(spec.init_containers),
                service_account_name=intern(spec.service_account_name),
                node_name=intern(spec.node_name),
            ),
            replace(
                status,
                pod_ips=several,
                conditions=self._once(tuple(it for it in status.conditions if it.type == _READY)),
            ),
        )

    def _slice(self, raw: bytes | Raw) -> EndpointSlice:
        found = _SLICE.decode(raw)
        return EndpointSlice(
            self._metadata(found.metadata),
            address_type=found.address_type,
            endpoints=tuple(map(self._endpoint, found.endpoints or ())),
            ports=self._once(found.ports or ()),
        )

    def _endpoint(self, written: SliceEndpoint) -> SliceEndpoint:
        target = written.target_ref
        if target is not None:
            kind, name = intern(target.kind), intern(target.name)
            target = ObjectReference(kind, name, intern(target.namespace))
        return SliceEndpoint(
            written.addresses,
            self._once(written.conditions),
            hostname=written.hostname,
            node_name=intern(written.node_name),
            target_ref=target,
        )

    def _secret(self, raw: bytes | Raw) -> Secret:
        found = _SECRET.decode(raw)
        data = {key: value for key, value in found.data.items() if key in _CREDENTIALS}
        return Secret(self._metadata(found.metadata), type=intern(found.type), data=data)

    def _metadata(self, written: _Metadata) -> Metadata:
        annotations = written.annotations
        return Metadata(
            intern(written.name),
            intern(written.namespace),
            labels=self._set(written.labels),
            annotations={
                name: value
                for name, value in annotations.items()
                if any(part in name for part in _OURS)
            },
            owner_references=self._once(
                tuple(owner for owner in written.owner_references if owner.controller)
            ),
            creation_timestamp=_seconds(written.creation_timestamp),
            deletion_timestamp=_seconds(written.deletion_timestamp),
        )

    def _set(self, labels: Mapping[str, str]) -> dict[str, str]:
        key = tuple(labels.items())
        found = self._labels.get(key)
        if found is None:
            if len(self._labels) >= MAX_SHARED:
                self._labels.clear()
            found = {intern(name): intern(value) for name, value in key}
            self._labels[tuple(found.items())] = found
        return found

    def _once(self, value: T) -> T:
        if len(self._shared) >= MAX_SHARED:
            self._shared.clear()
        return cast("T", self._shared.setdefault(value, value))


def _seconds(written: datetime | None) -> Timestamp | None:
    return None if written is None else Timestamp(int(written.timestamp()))


_BARE = msgspec.json.Decoder(_Bare)
_NODE = msgspec.json.Decoder(_Node)
_SERVICE = msgspec.json.Decoder(_Service)
_POD = msgspec.json.Decoder(_Pod)
_SLICE = msgspec.json.Decoder(_EndpointSlice)
_SECRET = msgspec.json.Decoder(_Secret)
