import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.api.resource import Metadata
from libs.api.security.key_set import KeySet
from libs.model.delta import Delta
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from libs.runtime.watchdog import Watchdog
from libs.translate.apply import Step, Upsert
from services.discovery import files
from services.discovery.files import Batch
from services.discovery.ingest import Ingest

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
"""
ROUTING = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web}}]}]
---
"""


class Steps:
    """What was published, and a way to wait for the next of it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Step] = asyncio.Queue()
        self.mesh = Mesh()

    def publish(self, step: Step) -> None:
        self._queue.put_nowait(step)

    async def next(self) -> Step:
        async with asyncio.timeout(30):
            step = await self._queue.get()
        self.mesh = step.state.mesh
        return step

    async def change(self) -> Delta:
        while not (step := await self.next()).delta:
            pass
        return step.delta


@asynccontextmanager
async def ingesting(folder: Path) -> AsyncIterator[Steps]:
    steps = Steps()
    ingest = Ingest(MeshSettings(), steps.publish, SystemClock())
    async with (
        files.watch(folder, SystemClock()) as source,
        background(ingest.run(source.batches())),
    ):
        yield steps


async def test_a_folder_becomes_a_mesh_and_follows_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVICE.replace("NAME", "web"))
    before = SystemClock().now()
    async with ingesting(tmp_path) as steps:
        first = await steps.next()
        assert list(first.state.mesh.services) == ["shop/web.shop.svc.cluster.local"]
        assert first.problems == ()

        (tmp_path / "b.yaml").write_text(ROUTING)
        delta = await steps.change()
        assert delta.causes == ("VirtualService/shop/web",)
        assert before <= delta.observed <= SystemClock().now()
        first_number = delta.change

        (tmp_path / "b.yaml").unlink()
        delta = await steps.change()
        assert [key.key for key in delta.removed] == ["VirtualService/shop/web"]
        assert delta.change > first_number > first.delta.change > 0


async def test_an_empty_folder_is_a_first_load_too(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as steps:
        assert not (await steps.next()).delta


async def test_a_bad_document_keeps_its_last_good_state_and_the_rest_moves(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVICE.replace("NAME", "web"))
    (tmp_path / "b.yaml").write_text(ROUTING)
    async with ingesting(tmp_path) as steps:
        await steps.next()
        good = steps.mesh.routings
        (tmp_path / "b.yaml").write_text(ROUTING.replace("hosts: [web]", "hostss: [web]"))
        (tmp_path / "c.yaml").write_text(SERVICE.replace("NAME", "db"))
        while len(steps.mesh.services) < 2:
            step = await steps.next()
        (problem,) = step.problems
        assert problem.reason == "UnknownField"
        assert problem.file == str(tmp_path / "b.yaml")
        assert problem.line == 6
        assert steps.mesh.routings == good


async def test_a_reference_is_placed_and_heals(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(ROUTING)
    async with ingesting(tmp_path) as steps:
        (problem,) = (await steps.next()).problems
        assert problem.reason == "HostNotFound"
        assert (problem.file, problem.line) == (str(tmp_path / "b.yaml"), 7)
        (tmp_path / "a.yaml").write_text(SERVICE.replace("NAME", "web"))
        assert (await steps.next()).problems == ()


async def test_hostile_files_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVICE.replace("NAME", "web"))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "deep.yaml").write_text("[" * 50_000)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "aliases.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    (tmp_path / "unknown.yaml").write_text(
        "{apiVersion: networking.istio.io/v1, kind: VirtualServices, metadata: {name: x}}"
    )
    async with ingesting(tmp_path) as steps:
        step = await steps.next()
        assert list(step.state.mesh.services) == ["shop/web.shop.svc.cluster.local"]
        assert {Path(problem.file).name for problem in step.problems} == {
            "broken.yaml",
            "deep.yaml",
            "bytes.yaml",
            "aliases.yaml",
            "unknown.yaml",
        }
        assert all(problem.line > 0 and problem.text for problem in step.problems)


class CpuClock(SystemClock):
    """Time that passes only while this thread computes, so that a busy machine proves nothing."""

    def monotonic(self) -> float:
        return time.thread_time()


async def test_large_documents_do_not_stop_the_event_loop(tmp_path: Path) -> None:
    routes = "".join(
        f"  - match: [{{uri: {{prefix: /a/longer/path/{index}}}}}]\n"
        "    route: [{destination: {host: web}}]\n"
        for index in range(11_000)
    )
    text = ROUTING.partition("  http:")[0] + "  http:\n" + routes
    assert 900_000 < len(text) < 1024 * 1024
    watchdog = Watchdog(interval=0.005, clock=CpuClock())
    async with ingesting(tmp_path) as steps, background(watchdog.run()):
        await steps.next()
        watchdog.reset()
        (tmp_path / "large.yaml").write_text(text)
        await steps.change()
        (tmp_path / "many.yaml").write_text(
            "".join(SERVICE.replace("NAME", f"s{index}") for index in range(1_000))
        )
        await steps.change()
    assert len(steps.mesh.services) == 1_000
    assert len(steps.mesh.routings) == 1
    assert watchdog.worst < 0.1


TOKENS = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: t, namespace: shop}
spec: {jwtRules: [{issuer: i, jwksUri: "https://issuer.example/keys"}]}
"""


async def test_nobody_sees_the_first_mesh_without_the_keys_that_were_waited_for(
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("a.yaml").write_text(TOKENS)
    published: list[list[str]] = []
    done = asyncio.Event()

    def publish(step: Step) -> None:
        policies = step.state.mesh.token_policies.values()
        published.append([rule.keys for policy in policies for rule in policy.rules])
        asyncio.get_running_loop().call_soon(done.set)  # whoever may look, looks after this

    async def prepare(mesh: Mesh) -> Batch:
        (policy,) = mesh.token_policies.values()
        name = policy.rules[0].source
        return Batch((), 0.0, (Upsert(KeySet(Metadata(name=name), "the keys")),))

    ingest = Ingest(MeshSettings(), publish, SystemClock(), prepare=prepare)
    async with (
        files.watch(tmp_path, SystemClock()) as source,
        background(ingest.run(source.batches())),
    ):
        async with asyncio.timeout(30):
            await done.wait()
        assert published == [[""], ["the keys"]]
        name = "keys:https://issuer.example/keys"
        done.clear()
        source.put(Upsert(KeySet(Metadata(name=name), "newer keys")))
        async with asyncio.timeout(30):
            await done.wait()
        assert published[-1] == ["newer keys"]
