"""Gateways: one row for each Gateway, and what its servers lose to older ones.

Routings find a gateway by `<namespace>/<name>`, proxies by the labels of their workloads. What a
proxy then listens on is decided in `libs.proxy.gateways`, which is asked here for conflicts too.
"""

from collections.abc import Iterator
from typing import cast

from libs.api import reasons
from libs.api.networking import gateway as api
from libs.api.networking.server_tls import ServerTls as ApiTls
from libs.api.networking.server_tls import ServerTlsMode as ApiMode
from libs.api.networking.server_tls import TlsVersion
from libs.api.problem import Problem, Severity
from libs.api.secret import Secret
from libs.model import gateway as model
from libs.model.mesh import Key, Table
from libs.model.service import Protocol
from libs.proxy.gateways import merge
from libs.translate.groups import Group
from libs.translate.state import Derived
from libs.translate.view import View

_PROTOCOLS = {protocol.value.upper(): protocol for protocol in Protocol}
_NO_TLS = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})


def derive(_: View, resource: api.Gateway) -> Derived:
    """Return the row of a Gateway."""
    metadata, spec = resource.metadata, resource.spec
    row = model.Gateway(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector,
        servers=tuple(_server(server, metadata.namespace) for server in spec.servers),
    )
    return Derived(rows=((Key(Table.GATEWAY, resource.ref), row),))


def check(view: View, resource: api.Gateway) -> Derived:
    """Return what the servers of a Gateway lose to older ones that select the same proxies."""
    own = cast("model.Gateway | None", view.row(Table.GATEWAY, resource.ref))
    if own is None:
        return Derived()
    every = cast("list[model.Gateway]", view.rows(Table.GATEWAY, Group.GATEWAYS, ""))
    rivals = [one for one in every if _select_alike(one.selector, own.selector)]
    conflicts = (one for one in merge(rivals, {}).conflicts if one.lost == own.ref)
    problems = [
        Problem(own.ref, *_place(own, conflict.server, conflict.host, kept=conflict.kept))
        for conflict in conflicts
    ]
    missing = _missing_secrets(view, resource)
    return Derived(problems=(*problems, *missing, *_without_effect(resource)))


def _server(server: api.Server, namespace: str) -> model.Server:
    protocol = _PROTOCOLS.get(server.port.protocol.upper(), Protocol.TCP)
    tls = server.tls
    return model.Server(
        number=server.port.number,
        port_name=server.port.name,
        protocol=protocol,
        hosts=tuple(_host(written, namespace) for written in server.hosts),
        bind=server.bind,
        name=server.name,
        tls=server_tls(tls) if tls and protocol not in _NO_TLS else None,
        https_redirect=tls is not None and tls.https_redirect,
    )


def _host(written: str, namespace: str) -> model.ServerHost:
    owner, slash, name = written.partition("/")
    if not slash:
        return model.ServerHost(model.ANY_NAMESPACE, written.lower())
    return model.ServerHost(namespace if owner == "." else owner, name.lower())


def server_tls(tls: ApiTls) -> model.ServerTls:
    """Return TLS as a server, as Gateways and Sidecars write it."""
    single = (tls.credential_name,) if tls.credential_name else ()
    files = [(one.server_certificate, one.private_key) for one in tls.tls_certificates]
    if not files and tls.server_certificate:
        files = [(tls.server_certificate, tls.private_key)]
    ca_files = (tls.ca_certificates, *(one.ca_certificates for one in tls.tls_certificates))
    return model.ServerTls(
        mode=model.ServerTlsMode(tls.mode),
        credentials=tls.credential_names or single,
        ca_credential=tls.ca_cert_credential_name,
        files=tuple(model.CertificateFiles(*pair) for pair in files),
        ca_file=next(filter(None, ca_files), ""),
        crl_file=tls.ca_crl,
        subject_alt_names=tls.subject_alt_names,
        certificate_spki=tls.verify_certificate_spki,
        certificate_hashes=tls.verify_certificate_hash,
        min_version=_version(tls.min_protocol_version),
        max_version=_version(tls.max_protocol_version),
        cipher_suites=tls.cipher_suites,
        ecdh_curves=tls.ecdh_curves,
        insecure_skip_verify=bool(tls.insecure_skip_verify),
    )


def _version(written: TlsVersion) -> str:
    return "" if written is TlsVersion.TLS_AUTO else str(written)


def _select_alike(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether whatever carries the labels of one selector carries those of the other."""
    return one.items() <= other.items() or other.items() <= one.items()


def _place(own: model.Gateway, server: int, host: str, *, kept: str) -> tuple[str, str, str]:
    """Return path, reason and text of a conflict."""
    number = own.servers[server].number
    place = f"spec.servers[{server}]"
    if not host:
        text = f"{kept} is older and speaks another protocol on port {number}"
        return f"{place}.port", reasons.LISTENER_CONFLICT, text
    names = [one.name for one in own.servers[server].hosts]
    text = f"{kept} is older and has TLS for {host} on port {number}; other hosts are kept"
    return f"{place}.hosts[{names.index(host)}]", reasons.CONFLICTING_HOST, text


def _missing_secrets(view: View, resource: api.Gateway) -> Iterator[Problem]:
    """Yield credentials that no namespace has. In whose it must be is a matter of the proxies."""
    for index, server in enumerate(resource.spec.servers):
        for field, name in _credentials(server.tls or ApiTls()):
            if "://" not in name and not view.resources(Secret, Group.SECRETS, name):
                text = f"there is no Secret {name!r}: the port stays closed until there is one"
                path = f"spec.servers[{index}].tls.{field}"
                yield Problem(resource.ref, path, reasons.SECRET_NOT_FOUND, text, Severity.WARNING)


def _credentials(tls: ApiTls) -> Iterator[tuple[str, str]]:
    if tls.credential_name:
        yield "credentialName", tls.credential_name
    for at, name in enumerate(tls.credential_names):
        yield f"credentialNames[{at}]", name


def _without_effect(resource: api.Gateway) -> Iterator[Problem]:
    """Yield what a Gateway asks for in vain."""
    for index, server in enumerate(resource.spec.servers):
        place = f"spec.servers[{index}]"
        if server.bind.startswith("unix://"):
            text = "sockets that are files are not supported yet: this server has no effect"
            yield Problem(resource.ref, f"{place}.bind", reasons.UNSUPPORTED_FIELD, text)
        if server.tls and server.tls.mode is ApiMode.ISTIO_MUTUAL and server.tls.ca_crl:
            yield _vain(
                resource, f"{place}.tls.caCrl", "mesh certificates are not revoked by lists"
            )
        if server.tls and server.tls.ca_cert_credential_name.startswith("configmap://"):
            text = "roots are read from Secrets only: no client can prove who it is"
            path = f"{place}.tls.caCertCredentialName"
            yield Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text)


def _vain(resource: api.Gateway, path: str, text: str) -> Problem:
    return Problem(resource.ref, path, reasons.NO_EFFECT, text, Severity.WARNING)
