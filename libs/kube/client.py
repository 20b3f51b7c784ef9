"""Client: requests to one API server, as bytes and as JSON, and what its errors mean.

The transport (TLS, proxies, credentials) is `kubernetes_asyncio`'s. Nothing is tried twice here,
save that credentials and authorities which turn out stale are read again once. How kinds are
followed is not decided here: see `libs.kube.watch`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSSLError,
    ClientTimeout,
    ClientWebSocketResponse,
    WSServerHandshakeError,
)
from msgspec import Struct

from libs.kube.access import BEARER, Access
from libs.kube.errors import (
    AccessError,
    ApiError,
    KubeError,
    UnauthorizedError,
    UnreachableError,
    error_of,
)
from libs.kube.vendor import Configuration, RESTClientObject

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Far above any page that is asked for, below what would end the process."""
MAX_ERROR_BYTES = 64 * 1024
JSON = "application/json"

Params = Mapping[str, str | int]


class StaleError(UnreachableError):
    """The server is not whom the authorities at hand vouch for; they may have been replaced."""


class _Request(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    params: Params | None
    body: object = None
    content_type: str = JSON
    accept: str = JSON
    timeout: ClientTimeout = ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)


class Client:
    """One API server. Use it as `async with`; many requests may run at once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rest: Any = None  # the vendor's types say too little; both are set on entering
        self._configuration: Any = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._configuration = await self._access.configure()
        self._rest = RESTClientObject(self._configuration)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._rest.close()

    async def get(self, path: str, params: Params | None = None) -> Any:  # noqa: ANN401  # JSON
        """Return what is at `path`, decoded; see `request`."""
        return await self.request("GET", path, params=params)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> Any:  # noqa: ANN401  # JSON is whatever it is
        """Return the decoded JSON of an answer; the text, if it is no JSON; None, if it is empty.

        `path` starts with a slash; `body` is plain data. Patches say their kind as `content_type`.

        Raises:
            ApiError: one of its subclasses, if the answer is no success.
            UnreachableError: there was no answer within 30 s.
            AccessError: there is no credential to ask with.

        """
        wanted = _Request(
            method=method, path=path, params=params, body=body, content_type=content_type
        )
        content, is_json = await self._again_if_stale(wanted)
        return _decoded(content, is_json=is_json)

    async def read(self, path: str, params: Params | None = None, *, accept: str = JSON) -> bytes:
        """Return the bytes at `path` as the server sent them; raises as `request` does."""
        wanted = _Request(method="GET", path=path, params=params, accept=accept)
        return (await self._again_if_stale(wanted))[0]

    async def stream(
        self, path: str, params: Params | None = None, *, silence: float, accept: str = JSON
    ) -> AsyncGenerator[bytes, None]:
        """Yield chunks of an answer that goes on, as they arrive; raises as `request` does.

        A server that says nothing for `silence` seconds counts as unreachable. End the iterator
        with `aclose` (`contextlib.aclosing`) when leaving early.
        """
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        wanted = _Request(method="GET", path=path, params=params, accept=accept, timeout=timeout)
        try:
            async with self._answer(wanted) as answer:
                async for chunk in answer.content.iter_any():
                    yield chunk
        except (UnauthorizedError, StaleError) as error:
            await self._renew(error)
            raise

    @asynccontextmanager
    async def websocket(
        self, path: str, params: Sequence[tuple[str, str | int]], *, protocol: str
    ) -> AsyncIterator[ClientWebSocketResponse]:
        """Yield a websocket at `path`; parameters may repeat. Raises as `request` does.

        Of a refusal only the status is known: whoever asks says what it was about.
        """
        try:
            opened = await self._upgraded(path, params, protocol)
        except (UnauthorizedError, StaleError) as error:
            await self._renew(error)
            opened = await self._upgraded(path, params, protocol)
        try:
            yield opened
        finally:
            await opened.close()

    async def _upgraded(
        self, path: str, params: Sequence[tuple[str, str | int]], protocol: str
    ) -> ClientWebSocketResponse:
        # A kubelet, to which this is passed on, answers 406 to whoever takes only one type.
        headers = await self._headers(_Request(method="GET", path=path, params=None, accept="*/*"))
        del headers["Content-Type"]
        more = {"server_hostname": name} if (name := self._rest.server_hostname) else {}
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                opened: ClientWebSocketResponse = await self._rest.pool_manager.ws_connect(
                    f"{self._configuration.host}{path}?{urlencode(params)}",
                    protocols=(protocol,),
                    headers=headers,
                    proxy=self._rest.proxy,
                    proxy_headers=self._rest.proxy_headers,
                    **more,
                )
        except WSServerHandshakeError as error:
            raise error_of(error.status, error.message) from error
        except ClientSSLError as error:
            raise StaleError(_text(error)) from error
        except (ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(_text(error)) from error
        return opened

    async def _again_if_stale(self, wanted: _Request) -> tuple[bytes, bool]:
        try:
            return await self._whole(wanted)
        except (UnauthorizedError, StaleError) as error:
            await self._renew(error)
        return await self._whole(wanted)

    async def _whole(self, wanted: _Request) -> tuple[bytes, bool]:
        async with self._answer(wanted) as answer:
            content = await _bounded(answer, MAX_ANSWER_BYTES)
            return content, answer.content_type == JSON

    @asynccontextmanager
    async def _answer(self, wanted: _Request) -> AsyncIterator[ClientResponse]:
        headers = await self._headers(wanted)
        try:
            answer = await self._rest.request(
                wanted.method,
                self._configuration.host + wanted.path,
                query_params=[*(wanted.params or {}).items()],
                headers=headers,
                body=wanted.body,
                _preload_content=False,
                _request_timeout=wanted.timeout,
            )
            async with answer:
                await _check(answer)
                yield answer
        except ClientSSLError as error:
            raise StaleError(_text(error)) from error
        except (ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(_text(error)) from error

    async def _headers(self, wanted: _Request) -> dict[str, str]:
        found = {
            "Content-Type": wanted.content_type,
            "Accept": wanted.accept,
            "Accept-Encoding": "identity",  # in a cluster, bandwidth is cheaper than CPU
        }
        try:
            token = await self._configuration.get_api_key_with_prefix(BEARER)
        except Exception as error:  # a token file that is gone or empty, in the vendor's words
            raise AccessError(f"no credential: {error}") from error
        if token:
            found["Authorization"] = token.strip()
        return found

    async def _renew(self, error: KubeError) -> None:
        """Read credentials again, and for a server that is not trusted authorities as well."""
        before = self._configuration
        async with self._renewing:
            if self._configuration is not before:
                return  # somebody else just did
            self._configuration = await self._access.configure()
            if isinstance(error, StaleError) or _has_other_files(before, self._configuration):
                previous, self._rest = self._rest, RESTClientObject(self._configuration)
                await previous.close()


def _has_other_files(before: Configuration, after: Configuration) -> bool:
    return bool(before.cert_file != after.cert_file or before.ssl_ca_cert != after.ssl_ca_cert)


async def _check(answer: ClientResponse) -> None:
    if 200 <= answer.status < 300:
        return
    content = await answer.content.read(MAX_ERROR_BYTES)
    said = _decoded(content, is_json=answer.content_type == JSON)
    raise error_of(answer.status, said, retry_after=_seconds(answer.headers.get("Retry-After")))


async def _bounded(answer: ClientResponse, limit: int) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > limit:
            raise ApiError(answer.status, "TooLong", f"an answer of more than {limit} bytes")
    return bytes(found)


def _decoded(content: bytes, *, is_json: bool) -> Any:  # noqa: ANN401  # JSON is whatever it is
    if not content:
        return None
    if is_json:
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            pass  # what a proxy between us and the server calls JSON: shown as it is
    return content.decode(errors="replace")


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
