"""Expiries: a CA that is away until certificates have expired, and comes back."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from libs.pki import bundle, csr, jwk, keys
from libs.rpc import ca_client, server
from libs.rpc.health import Health
from libs.rpc.server import Port
from libs.rpc.svid import Functions, Svid
from libs.runtime.tasks import background
from services.ca import app
from services.ca.settings import Settings
from tests.faults.figures import CLOCK, Figure, Length, Note, seconds_until
from tests.support.control_plane_apps import SYSTEM, Apps
from tests.support.ports import free_ports

RECIPE = "an expiry"
LIFE = 10


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Stop the CA until a service's certificate has expired, and start it again, three times."""
    (folder / "config").mkdir()
    issuer = keys.generate()
    (folder / "tokens.json").write_bytes(jwk.document(issuer.public_key()))
    settings = Settings(
        port=free_ports(1)[0],
        mtls_port=0,
        monitoring_port=0,
        ca_dir=folder / "ca",
        root_file=folder / "root.pem",
        token_keys_file=folder / "tokens.json",
        certificate_seconds=LIFE,
    )
    away, turns = (4.0, 1) if length.quick else (60.0, 3)
    took = []
    async with AsyncExitStack() as running, AsyncExitStack() as stack:
        apps = Apps(folder, await running.enter_async_context(app.running(settings)), issuer)
        svid = _svid(apps, settings)
        await stack.enter_async_context(background(svid.run()))
        await svid.ready()
        port = Port("127.0.0.1:0", svid.server_credentials(mutual=False))
        number = await stack.enter_async_context(server.running([Health().register], port))
        good = partial(_handshake, number, settings)
        await seconds_until(good)
        for _ in range(turns):
            await running.aclose()
            await seconds_until(partial(_refused, good))
            await CLOCK.sleep(away)
            started = CLOCK.monotonic()
            await running.enter_async_context(app.running(settings))
            await seconds_until(good)
            took.append(CLOCK.monotonic() - started)
    name = f"the CA away until {away:.0f} s after a service's certificate expired"
    value = f"first good handshake {max(took):.1f} s after it is back, worst of {turns}"
    note(Figure(RECIPE, name, value))


def _svid(apps: Apps, settings: Settings) -> Svid:
    address = ca_client.CaAddress(
        f"127.0.0.1:{settings.port}",
        apps.folder / "root.pem",
        apps.token_file("seine-discovery"),
    )
    functions = Functions(csr.make_with_key, bundle.validity, partial(ca_client.sign, address))
    return Svid(functions)


async def _refused(good: object) -> bool:
    return not await good()  # type: ignore[operator]


async def _handshake(port: int, settings: Settings) -> bool:
    """Tell whether a client that trusts the roots takes what the port shows."""
    context = ssl.create_default_context(cafile=str(settings.root_file))
    name = f"seine-discovery.{SYSTEM}.svc"
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=name
            )
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
