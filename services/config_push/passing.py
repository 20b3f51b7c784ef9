"""Passing: requests for certificates go on to the CA, with the credential of whoever sent them.

Agents made for Istio know one address for everything. What they send here is not decoded: the body
goes on as it came, and so does a token, which the CA reviews itself. Of a client certificate, which
cannot be passed on, the CA is told which identity TLS verified; it believes that of this service,
and not for the control plane's own accounts.

At most `at_once` requests are on their way. Overflow: RESOURCE_EXHAUSTED, after which agents come
back, counted in `seine_push_certificates_passed_total{code="RESOURCE_EXHAUSTED"}`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from libs.rpc import channel, peer
from libs.rpc.errors import CredentialError, NotReadyError
from libs.rpc.passing import ADDRESS, IDENTITY
from libs.rpc.peer import Context
from libs.rpc.svid import Svid
from services.config_push import metrics
from services.config_push.authn import Authenticate

logger = logging.getLogger(__name__)

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"
TIMEOUT_SECONDS = 15.0
MAX_BODY_BYTES = 64 * 1024

Headers = Sequence[tuple[str, str]]
Ask = Callable[[bytes, Headers], Awaitable[bytes]]
"""Sends a body with headers to the CA; raises grpc.aio.AioRpcError or NotReadyError."""


class Line:
    """A connection to the CA's mTLS port, made anew whenever our own certificate is."""

    def __init__(self, svid: Svid, address: str, server_name: str) -> None:
        self._svid = svid
        self._address = address
        self._server_name = server_name
        self._channel: grpc.aio.Channel | None = None
        self._old: list[grpc.aio.Channel] = []
        self._renewed = asyncio.Event()
        svid.on_change(lambda _: self._let_go())

    async def ask(self, body: bytes, headers: Headers) -> bytes:
        """Send one request; see `Ask`."""
        if self._channel is None:
            self._channel = channel.connect(
                self._address,
                credentials=self._svid.channel_credentials(),
                server_name=self._server_name,
            )
        call: Any = self._channel.unary_unary(f"/{SERVICE}/{METHOD}")
        answer: bytes = await call(body, metadata=tuple(headers), timeout=TIMEOUT_SECONDS)
        return answer

    async def run(self) -> None:
        """Close connections that are not used any more, until cancelled."""
        try:
            while True:
                await self._renewed.wait()
                self._renewed.clear()
                while self._old:
                    await self._old.pop().close(TIMEOUT_SECONDS)
        finally:
            self._let_go()
            for old in self._old:
                await old.close()

    def _let_go(self) -> None:
        if self._channel is not None:
            self._old.append(self._channel)
            self._channel = None
            self._renewed.set()


class Passing:
    """Serves CreateCertificate by asking the CA."""

    def __init__(self, ask: Ask, *, at_once: int) -> None:
        self._ask = ask
        self._at_once = at_once
        self._on_their_way = 0

    def by_token(self) -> Callable[[grpc.aio.Server], None]:
        """Return how to serve callers with a token; nothing is done here to believe it."""

        async def credential(context: Context) -> tuple[str, str]:
            return "authorization", f"Bearer {peer.bearer_token(context)}"

        return self._registration(credential)

    def by_certificate(self, authenticate: Authenticate) -> Callable[[grpc.aio.Server], None]:
        """Return how to serve callers with a certificate that `authenticate` believes."""

        async def credential(context: Context) -> tuple[str, str]:
            return IDENTITY, str(await authenticate(context))

        return self._registration(credential)

    def _registration(
        self, credential: Callable[[Context], Awaitable[tuple[str, str]]]
    ) -> Callable[[grpc.aio.Server], None]:
        async def create(body: bytes, context: Context) -> bytes:
            try:
                if len(body) > MAX_BODY_BYTES:
                    await self._end(context, grpc.StatusCode.RESOURCE_EXHAUSTED)
                header = await credential(context)
            except CredentialError as error:
                logger.info("request refused", extra={"reason": str(error)})
                await self._end(context, grpc.StatusCode.UNAUTHENTICATED)
                raise AssertionError from error  # that has raised
            return await self._pass_on(body, header, context)

        def register(server: grpc.aio.Server) -> None:
            method: Any = grpc.unary_unary_rpc_method_handler(create)
            handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})
            server.add_generic_rpc_handlers((handler,))

        return register

    async def _pass_on(self, body: bytes, header: tuple[str, str], context: Context) -> bytes:
        if self._on_their_way >= self._at_once:
            await self._end(context, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self._on_their_way += 1
        try:
            answer = await self._ask(body, (header, (ADDRESS, peer.address(context))))
        except grpc.aio.AioRpcError as error:
            await self._end(context, error.code())
            raise AssertionError from error  # that has raised
        except NotReadyError as error:
            await self._end(context, grpc.StatusCode.UNAVAILABLE)
            raise AssertionError from error
        finally:
            self._on_their_way -= 1
        metrics.PASSED.labels(code="OK").inc()
        return answer

    async def _end(self, context: Context, code: grpc.StatusCode) -> None:
        """Answer with a code and nothing else: the reason is in the CA's log."""
        metrics.PASSED.labels(code=code.name).inc()
        await context.abort(code, code.name.lower().replace("_", " "))
