"""Wiring of the CA: authority, own certificate, two gRPC ports and the monitoring port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from libs.kube import access
from libs.kube.client import Client
from libs.kube.errors import KubeError
from libs.model.ids import SpiffeId
from libs.pki import bundle, csr
from libs.pki.authority import Authority
from libs.pki.errors import PkiError
from libs.pki.template import Lifetimes
from libs.rpc import interceptors, server
from libs.rpc.errors import CaError
from libs.rpc.health import Health
from libs.rpc.limits import Limits as ServerLimits
from libs.rpc.server import Port
from libs.rpc.svid import Functions, Svid
from libs.runtime import http
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.probes import Readiness
from libs.runtime.tasks import background
from services.ca import authn, cluster, passed_on, refusals
from services.ca.caller import Authenticate, Caller, Prove
from services.ca.certificates import Certificates, Limits
from services.ca.errors import LimitedError, UnconfirmedError
from services.ca.limits import Buckets
from services.ca.local import Local
from services.ca.passed_on import Forwarders
from services.ca.settings import Settings
from services.ca.signing import Rules, Signer

ACCOUNT = "seine-ca"
MAX_REQUEST_BYTES = 64 * 1024  # four times the largest CSR


class Bound(Struct, frozen=True):
    """The ports on which a running CA listens."""

    token: int
    mtls: int
    monitoring: int


async def serve(settings: Settings) -> None:
    """Run the CA until cancelled."""
    async with running(settings):
        await asyncio.Event().wait()


class Ground(Protocol):
    """What a CA stands on: `services.ca.local` or `services.ca.cluster`."""

    trust_domain: str
    prove: Prove

    @property
    def authority(self) -> Authority:
        """What signs."""
        ...

    def on_authority(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the authority."""
        ...

    async def cover(self, lifetime: int) -> None:
        """Prepare for certificates that live for `lifetime` seconds."""
        ...

    async def impersonate(self, caller: Caller, wanted: str) -> SpiffeId:
        """Return another identity that `caller` may have."""
        ...

    def work(self, svid: Svid) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the ports, and asks others with `svid`."""
        ...


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Bound]:
    """Run the CA while the block runs."""
    clock = clock or SystemClock()
    readiness = Readiness("signing certificate", "serving certificate", "ports")
    async with AsyncExitStack() as stack:
        monitoring = await stack.enter_async_context(
            http.serve(
                settings.listen_address,
                settings.monitoring_port,
                readiness=readiness,
                component="ca",
            )
        )
        hindered = partial(readiness.explain, "signing certificate")
        ground = await stack.enter_async_context(_ground(settings, clock, hindered))
        readiness.set("signing certificate")
        signer = stack.enter_context(_signer(settings, ground, clock))
        svid = _own_certificate(settings, ground, signer, clock=clock)
        ground.on_authority(svid.renew_now)
        await stack.enter_async_context(background(*ground.work(svid), svid.run()))
        await svid.ready()
        readiness.set("serving certificate")
        ports = _ports(settings, ground, signer, svid=svid, clock=clock)
        token, mtls = [await stack.enter_async_context(port) for port in ports]
        readiness.set("ports")
        yield Bound(token=token, mtls=mtls, monitoring=monitoring)


@asynccontextmanager
async def _ground(
    settings: Settings, clock: Clock, hindered: Callable[[str], None]
) -> AsyncIterator[Ground]:
    if settings.ca_dir is not None and settings.token_keys_file is not None:
        yield Local(settings, settings.ca_dir, settings.token_keys_file, clock=clock)
        return
    async with Client(access.load(settings.kubeconfig)) as client:
        yield await cluster.opened(settings, client, clock=clock, hindered=hindered)


def _ports(
    settings: Settings, ground: Ground, signer: Signer, *, svid: Svid, clock: Clock
) -> tuple[AbstractAsyncContextManager[int], AbstractAsyncContextManager[int]]:
    """Return the token port and the mTLS port, not yet open."""
    limits = _limits(settings, clock)
    forwarders = Forwarders(settings.forwarders, ground.trust_domain, settings.system_namespace)
    by_token = Certificates(_by_token(ground), signer, limits, impersonate=ground.impersonate)
    by_certificate = Certificates(
        _by_certificate(forwarders, ground),
        signer,
        limits,
        address=partial(passed_on.address, forwarders=forwarders),
        impersonate=ground.impersonate,
    )
    at = settings.listen_address
    return (
        _serving(
            Port(f"{at}:{settings.port}", svid.server_credentials(mutual=False)),
            by_token.register,
        ),
        _serving(
            Port(f"{at}:{settings.mtls_port}", svid.server_credentials(mutual=True)),
            by_certificate.register,
            Health().register,
        ),
    )


def _signer(settings: Settings, ground: Ground, clock: Clock) -> Signer:
    rules = Rules(
        lifetimes=Lifetimes(settings.certificate_seconds, settings.max_certificate_seconds),
        system_namespace=settings.system_namespace,
        revision=settings.revision,
    )
    return Signer(
        lambda: ground.authority,
        rules,
        clock=clock,
        queue=settings.sign_queue,
        cover=ground.cover,
    )


def _own_certificate(settings: Settings, ground: Ground, signer: Signer, *, clock: Clock) -> Svid:
    """The CA is its own first customer: it asks itself for what its ports show."""
    own = SpiffeId(ground.trust_domain, settings.system_namespace, ACCOUNT)
    functions = Functions(
        make_request=partial(csr.make_with_key, own),
        validity=bundle.validity,
        sign=partial(_sign_own, signer, own),
    )
    return Svid(functions, clock=clock)


async def _sign_own(signer: Signer, own: SpiffeId, request: bytes) -> list[str]:
    try:
        return await signer.sign(own, request)
    except (LimitedError, UnconfirmedError, KubeError, PkiError) as error:
        raise CaError(str(error)) from error  # a flood must not end the process, it comes back


def _limits(settings: Settings, clock: Clock) -> Limits:
    return Limits(
        peers=Buckets(rate=settings.peer_rate, burst=settings.peer_burst, clock=clock),
        identities=Buckets(rate=settings.identity_rate, burst=settings.identity_burst, clock=clock),
    )


def _by_token(ground: Ground) -> Authenticate:
    return authn.by_token(ground.prove)


def _by_certificate(forwarders: Forwarders, ground: Ground) -> Authenticate:
    return passed_on.by_certificate(forwarders, ground.prove)


def _serving(port: Port, *services: server.Registration) -> AbstractAsyncContextManager[int]:
    refuse = interceptors.map_errors(refusals.CODES, refusals.note)
    limits = ServerLimits(message_bytes=MAX_REQUEST_BYTES)
    return server.running(services, port, interceptors=[refuse], limits=limits)
