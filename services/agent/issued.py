"""Issued: what the agent and its certificate process say to each other, and how it is run."""

import asyncio
import sys
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from services.agent.provisioned import Provisioned

MAX_ANSWER_BYTES = 512 * 1024
TIMEOUT_SECONDS = 90.0


class IssueError(Exception):
    """No certificate was had; the message says why. `attempts` were made."""

    def __init__(self, message: str, attempts: int = 1) -> None:
        super().__init__(message)
        self.attempts = attempts


class Order(Struct, frozen=True):
    """What to ask for, and whom."""

    ca_address: str
    server_name: str
    root_file: str
    token_file: str
    lifetime: int  # seconds
    identity: str  # the SPIFFE id that is expected
    provisioned: Provisioned | None = None


class Issued(Struct, frozen=True, kw_only=True):
    """A private key with its certificate, PEM. It does not print the key."""

    key: str
    chain: str  # leaf first, without roots
    roots: str
    not_before: float  # seconds since the epoch
    not_after: float
    identity: str = ""
    attempts: int = 1

    def __repr__(self) -> str:
        return f"Issued({self.identity}, not_after={self.not_after:.0f})"


class _Failure(Struct, frozen=True):
    error: str
    attempts: Annotated[int, Meta(ge=0)] = 1


async def order(wanted: Order) -> Issued:
    """Run the certificate process once.

    Raises:
        IssueError: it gave none, or took too long.

    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.agent",
        "certificate",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        process_group=0,  # a Ctrl-C on the terminal is for the agent
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate(msgspec.json.encode(wanted))
    except TimeoutError as error:
        message = "the CA took too long"
        raise IssueError(message) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _read(output, process.returncode or 0)


def _read(output: bytes, code: int) -> Issued:
    try:
        if code == 0:
            return msgspec.json.decode(output[:MAX_ANSWER_BYTES], type=Issued)
        failure = msgspec.json.decode(output[:MAX_ANSWER_BYTES], type=_Failure)
    except msgspec.MsgspecError as error:
        message = f"the certificate process ended with {code}"
        raise IssueError(message) from error
    raise IssueError(failure.error, failure.attempts)
