"""Wiring of the CA: authority, own certificate, two gRPC ports and the monitoring port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, tokens
from libs.pki.errors import PkiError
from libs.pki.template import Lifetimes
from libs.rpc import interceptors, server
from libs.rpc.errors import CaError
from libs.rpc.health import Health
from libs.rpc.limits import Limits as ServerLimits
from libs.rpc.server import Port
from libs.rpc.svid import Functions, Svid
from libs.runtime import http, undumpable
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.probes import Readiness
from libs.runtime.tasks import background
from services.ca import authn, refusals
from services.ca.certificates import Certificates, Limits
from services.ca.errors import LimitedError
from services.ca.limits import Buckets
from services.ca.settings import Settings
from services.ca.signing import Rules, Signer
from services.ca.trust import Trust

ACCOUNT = "seine-ca"
MAX_REQUEST_BYTES = 64 * 1024  # four times the largest CSR


class Bound(Struct, frozen=True):
    """The ports on which a running CA listens."""

    token: int
    mtls: int
    monitoring: int


async def serve(settings: Settings) -> None:
    """Run the CA until cancelled, in a process that keeps its memory to itself."""
    undumpable.forbid_dumps()
    async with running(settings):
        await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Bound]:
    """Run the CA while the block runs."""
    clock = clock or SystemClock()
    readiness = Readiness("serving certificate", "ports")
    trust = Trust(
        settings.ca_dir, settings.token_keys_file, root_file=settings.root_file, clock=clock
    )
    trust.load(settings.trust_domain)
    async with AsyncExitStack() as stack:
        monitoring = await stack.enter_async_context(
            http.serve(settings.listen_address, settings.monitoring_port, readiness=readiness)
        )
        signer = stack.enter_context(_signer(settings, trust, clock))
        svid = _own_certificate(settings, signer, clock)
        trust.on_authority(svid.renew_now)
        await stack.enter_async_context(background(trust.follow(), svid.run()))
        await svid.ready()
        readiness.set("serving certificate")
        limits = _limits(settings, clock)
        by_token = Certificates(_by_token(settings, trust, clock), signer, limits)
        by_certificate = Certificates(_by_certificate(settings), signer, limits)
        at = settings.listen_address
        token = await stack.enter_async_context(
            _serving(
                Port(f"{at}:{settings.port}", svid.server_credentials(mutual=False)),
                by_token.register,
            )
        )
        mtls = await stack.enter_async_context(
            _serving(
                Port(f"{at}:{settings.mtls_port}", svid.server_credentials(mutual=True)),
                by_certificate.register,
                Health().register,
            )
        )
        readiness.set("ports")
        yield Bound(token=token, mtls=mtls, monitoring=monitoring)


def _signer(settings: Settings, trust: Trust, clock: Clock) -> Signer:
    rules = Rules(
        lifetimes=Lifetimes(settings.certificate_seconds, settings.max_certificate_seconds),
        system_namespace=settings.system_namespace,
    )
    return Signer(lambda: trust.authority, rules, clock=clock, queue=settings.sign_queue)


def _own_certificate(settings: Settings, signer: Signer, clock: Clock) -> Svid:
    """The CA is its own first customer: it asks itself for what its ports show."""
    own = SpiffeId(settings.trust_domain, settings.system_namespace, ACCOUNT)
    functions = Functions(
        make_request=partial(csr.make_with_key, own),
        validity=bundle.validity,
        sign=partial(_sign_own, signer, own),
    )
    return Svid(functions, clock=clock)


async def _sign_own(signer: Signer, own: SpiffeId, request: bytes) -> list[str]:
    try:
        return await signer.sign(own, request)
    except (LimitedError, PkiError) as error:
        raise CaError(str(error)) from error  # a flood must not end the process, it comes back


def _limits(settings: Settings, clock: Clock) -> Limits:
    return Limits(
        peers=Buckets(rate=settings.peer_rate, burst=settings.peer_burst, clock=clock),
        identities=Buckets(rate=settings.identity_rate, burst=settings.identity_burst, clock=clock),
    )


def _by_token(settings: Settings, trust: Trust, clock: Clock) -> authn.Authenticate:
    def policy() -> tokens.Policy:
        return tokens.Policy(trust.keys, settings.token_issuer, settings.token_audience)

    return authn.by_token(policy, trust_domain=settings.trust_domain, clock=clock)


def _by_certificate(settings: Settings) -> authn.Authenticate:
    return authn.by_certificate(trust_domain=settings.trust_domain)


def _serving(port: Port, *services: server.Registration) -> AbstractAsyncContextManager[int]:
    refuse = interceptors.map_errors(refusals.CODES, refusals.note)
    limits = ServerLimits(message_bytes=MAX_REQUEST_BYTES)
    return server.running(services, port, interceptors=[refuse], limits=limits)
