"""A port whose certificate changes all the time while strangers connect: the process stays alive.

Without the pause that `libs.rpc.tls` makes, gRPC crashes within seconds (grpc/grpc#36693). It runs
in a process of its own, because a crash would take the tests along.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.rpc import tls

PROGRAM = """
import asyncio, sys, time
from libs.rpc import server, tls
from tests.support.grpc_peers import server_keychain, test_root, unary

tls.SWAP_SECONDS = float(sys.argv[1])
ROOT = test_root()

async def echo(body, context):
    return body

async def stranger(port, until):
    while not until.is_set():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

async def main():
    keychain = server_keychain(ROOT)
    materials = [server_keychain(ROOT).material for _ in range(4)]
    port = server.Port("127.0.0.1:0", keychain.server_credentials(mutual=False))
    until = asyncio.Event()
    async with server.running([unary(echo)], port) as number, asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(stranger(number, until))
        swaps, started = 0, time.monotonic()
        while swaps < 600 and (swaps < 50 or time.monotonic() < started + 30):
            keychain.replace(materials[swaps % 4])
            await asyncio.sleep(0.005)
            swaps += 1
        until.set()
    print(swaps)

asyncio.run(main())
"""


@pytest.mark.parametrize("pause", [tls.SWAP_SECONDS])  # 3 ms have been too few on a busy machine
def test_the_process_survives_swaps_under_load(pause: float) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pause)],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "GRPC_VERBOSITY": "NONE",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) >= 50  # 600, but on a busy machine
