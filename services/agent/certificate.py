"""Certificate: a process of its own that makes a key, asks the CA, checks the answer, and ends.

The agent starts it at each renewal, twice a day, so that neither gRPC nor cryptography stays in the
memory of every pod. It reads one JSON object on standard input and writes one on standard output;
standard error is for logs. Attempts that may be worth repeating at once are repeated here, as
Istio's CA client does; when to come back after that is the agent's business.

A machine that has a certificate already asks with its token while that is good, and with the
certificate when it is not, or when the token is refused.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.model.ids import parse_spiffe_id
from libs.pki import bundle, csr, keys, verify
from libs.pki.errors import CertificateError, PkiError
from libs.rpc import ca_client, tls
from libs.rpc.errors import CaError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import SystemClock
from services.agent.issued import Issued, Order
from services.agent.provisioned import Provisioned

RETRIES = 5
_BACKOFF = Backoff(first=0.1, limit=1.6)
_RETRIABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
    }
)
_REFUSALS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

Ask = Callable[[bytes], Awaitable[Sequence[str]]]
"""Sends a request and returns the chain; raises CaError."""


class Failure(Struct, frozen=True):
    """What is written instead of a certificate."""

    error: str
    attempts: int


def main() -> int:
    """Read an order, write what came of it, return the exit code."""
    order = msgspec.json.decode(sys.stdin.buffer.read(64 * 1024), type=Order)
    answer = asyncio.run(obtain(order))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0 if isinstance(answer, Issued) else 1


async def obtain(order: Order) -> Issued | Failure:
    """Return a fresh key with its certificate, or why there is none."""
    clock = SystemClock()
    try:
        ways = _ways(order, now=clock.now())
    except PkiError as error:
        return Failure(f"the certificate at hand: {error}", 1)
    key, request = csr.make_with_key(parse_spiffe_id(order.identity))
    for attempt in range(RETRIES + 1):
        try:
            chain = await ways[0](request)
            return issued(key, chain, now=clock.now(), attempts=attempt + 1)
        except CaError as error:
            if len(ways) > 1 and _is_refusal(error):
                ways.pop(0)
                continue
            if attempt == RETRIES or not _is_retriable(error):
                return Failure(str(error), attempt + 1)
        except PkiError as error:
            return Failure(f"the CA's answer: {error}", attempt + 1)
        await clock.sleep(_BACKOFF.delay(attempt, chance()))
    return Failure("the CA refuses both the token and the certificate", RETRIES + 1)


def _ways(order: Order, *, now: float) -> list[Ask]:
    """Return how to ask, the better way first; at least one.

    Raises:
        PkiError: there is no token that is good, and the certificate is not either.

    """
    address = ca_client.CaAddress(
        address=order.ca_address,
        root_file=Path(order.root_file),
        token_file=Path(order.token_file),
        server_name=order.server_name,
    )
    by_token: Ask = partial(ca_client.sign, address, lifetime=order.lifetime)
    provisioned = order.provisioned
    if provisioned is None or not Path(provisioned.chain).exists():
        return [by_token]
    only = provisioned.wanted(now)
    try:
        by_certificate = _by_certificate(order, provisioned, now=now)
    except PkiError:
        if only:
            raise
        return [by_token]
    return [by_certificate] if only else [by_token, by_certificate]


def _by_certificate(order: Order, provisioned: Provisioned, *, now: float) -> Ask:
    own = _read(order, provisioned)
    leaf = bundle.parse(own.chain)[0]
    identity, expected = verify.identity_of(leaf), parse_spiffe_id(order.identity)
    # A machine may not have been told the trust domain; the CA knows its own.
    if replace(expected, trust_domain=identity.trust_domain) != identity:
        message = f"it is for {identity}, not for {order.identity}"
        raise CertificateError(message)
    if own.not_after <= now:
        message = "it has expired"
        raise CertificateError(message)
    if keys.spki(keys.of_certificate(leaf)) != keys.spki(keys.of_private(own.key)):
        message = "it is for another key"
        raise CertificateError(message)
    return partial(
        ca_client.renew,
        provisioned.address,
        own,
        server_name=provisioned.server_name,
        lifetime=order.lifetime,
    )


def _read(order: Order, provisioned: Provisioned) -> tls.Material:
    try:
        paths = (provisioned.key, provisioned.chain, order.root_file)
        key, chain, roots = (Path(path).read_bytes() for path in paths)
    except OSError as error:
        message = f"cannot read {error.filename}"
        raise CertificateError(message) from error
    return tls.Material(key, chain, roots, *bundle.validity(chain))


def issued(key: bytes, chain: Any, *, now: float, attempts: int) -> Issued:  # noqa: ANN401
    """Return what the CA gave, once it is checked: ours, signed by a root that came with it.

    Raises:
        PkiError: it is not.

    """
    certificates = [bundle.parse(pem.encode())[0] for pem in chain[:-1]]
    roots = bundle.parse(chain[-1].encode())
    verify.chain(certificates, roots, now=now)
    leaf = certificates[0]
    if keys.spki(keys.accepted(leaf.public_key())) != keys.spki(_public(key)):
        message = "it is for another key"
        raise PkiError(message)
    not_before, not_after = bundle.validity(chain[0].encode())
    return Issued(
        key=key.decode(),
        chain="".join(chain[:-1]),
        roots=chain[-1],
        not_before=not_before,
        not_after=not_after,
        identity=str(verify.identity_of(leaf)),
        attempts=attempts,
    )


def _public(key: bytes) -> keys.PublicKey:
    return keys.load_public(keys.public_pem(keys.load(key)))


def _is_retriable(error: CaError) -> bool:
    return _code(error) in _RETRIABLE


def _is_refusal(error: CaError) -> bool:
    """Tell whether the credential was refused, or there was none to be sent."""
    return isinstance(error.__cause__, OSError) or _code(error) in _REFUSALS


def _code(error: CaError) -> grpc.StatusCode | None:
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.aio.AioRpcError) else None
