"""Reconnects: a proxy that comes with the versions of far more than it is to have."""

import resource
from pathlib import Path

from msgspec import structs

from libs.rpc.limits import Limits
from libs.xds.types import CLUSTER, LISTENER
from services.config_push.settings import Settings
from tests.faults.figures import CLOCK, Figure, Length, Note
from tests.support.mesh import endpoints, mesh, port, service
from tests.support.push_plane import LIMITS, identity, node, running_plane
from tests.support.xds_client import DeltaClient

RECIPE = "a reconnect"
VERSIONS = 60_000
PATIENT = structs.replace(LIMITS, first_request=60.0)


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Reconnect five times with 60,000 versions each."""
    del length
    defaults = {field.name: field.default for field in structs.fields(Settings)}
    limits = Limits(message_bytes=defaults["max_request_bytes"])
    reviews = service("reviews", port(9080))
    took, streams = [], 0
    async with running_plane(folder, limits=PATIENT, server_limits=limits) as plane:
        plane.change(mesh(reviews, endpoints(reviews, "10.0.0.8")))
        for _ in range(5):
            client = DeltaClient(node())
            client.subscribe(CLUSTER)
            client.versions[CLUSTER] = {
                f"outbound|80||service-{number}.some-namespace.svc.cluster.local": "0" * 16
                for number in range(VERSIONS)
            }
            async with plane.stream(client, identity()) as proxy:
                streams += 1
                (first,) = client.connect()
                started = CLOCK.monotonic()
                await proxy.send(first, client.subscribe(LISTENER))
                await proxy.until(lambda it: len(it.versions[CLUSTER]) < 10)
                took.append(CLOCK.monotonic() - started)
    megabytes = first.ByteSize() / 1024 / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    value = (
        f"taken, {streams} streams for 5 reconnects, settled after {max(took):.2f} s at most, "
        f"peak of both ends in one process {peak:.0f} MB"
    )
    note(Figure(RECIPE, f"{VERSIONS} versions, {megabytes:.1f} MB", value, streams == 5))
