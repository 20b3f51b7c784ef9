"""Certificate: a process of its own that makes a key, asks the CA, checks the answer, and ends.

The agent starts it at each renewal, twice a day, so that neither gRPC nor cryptography stays in the
memory of every pod. It reads one JSON object on standard input and writes one on standard output;
standard error is for logs. Attempts that may be worth repeating at once are repeated here, as
Istio's CA client does; when to come back after that is the agent's business.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import msgspec
from msgspec import Struct

from libs.model.ids import parse_spiffe_id
from libs.pki import bundle, csr, keys, verify
from libs.pki.errors import PkiError
from libs.rpc import ca_client
from libs.rpc.errors import CaError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import SystemClock
from services.agent.issued import Issued, Order

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
    address = ca_client.CaAddress(
        address=order.ca_address,
        root_file=Path(order.root_file),
        token_file=Path(order.token_file),
        server_name=order.server_name,
    )
    key, request = csr.make_with_key(parse_spiffe_id(order.identity))
    clock = SystemClock()
    for attempt in range(RETRIES + 1):
        try:
            chain = await ca_client.sign(address, request, lifetime=order.lifetime)
            return issued(key, chain, now=clock.now(), attempts=attempt + 1)
        except CaError as error:
            if attempt == RETRIES or not _is_retriable(error):
                return Failure(str(error), attempt + 1)
        except PkiError as error:
            return Failure(f"the CA's answer: {error}", attempt + 1)
        await clock.sleep(_BACKOFF.delay(attempt, chance()))
    raise AssertionError  # the loop always returns


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
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() in _RETRIABLE
