import asyncio
from pathlib import Path

from libs.model.ids import Ref
from libs.runtime.clock import SystemClock
from services.discovery import completion

POD = Ref("Pod/shop/web-1")
WRITTEN = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
}


def _document(address: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: shop, labels: {{security.istio.io/tlsMode: istio}}}}
status: {{podIP: {address}}}
"""


def test_fields_are_added_and_mappings_merged() -> None:
    added = {"metadata": {"labels": {"x": "y"}}, "status": {"podIP": "10.0.0.1"}}
    merged = completion.merge(WRITTEN, added)
    assert merged["metadata"] == {
        "name": "web-1",
        "namespace": "shop",
        "labels": {"app": "web", "x": "y"},
    }
    assert merged["status"] == {"podIP": "10.0.0.1"}
    assert WRITTEN["metadata"]["labels"] == {"app": "web"}


async def test_without_a_folder_nothing_is_added() -> None:
    async with completion.watch(None, SystemClock(), lambda: None) as complete:
        assert complete(POD, WRITTEN) is WRITTEN


async def test_the_folder_is_read_first_and_then_followed(tmp_path: Path) -> None:
    file = tmp_path / "status.yaml"
    file.write_text(_document("10.0.0.1"))
    changed = asyncio.Event()
    async with completion.watch(tmp_path, SystemClock(), changed.set) as complete:
        assert complete(POD, WRITTEN)["status"] == {"podIP": "10.0.0.1"}
        assert complete(Ref("Pod/shop/other"), WRITTEN) is WRITTEN
        file.write_text(_document("10.0.0.2"))
        async with asyncio.timeout(60):
            while complete(POD, WRITTEN)["status"] != {"podIP": "10.0.0.2"}:
                await changed.wait()
                changed.clear()


async def test_a_broken_file_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "status.yaml").write_text("status: [")
    async with completion.watch(tmp_path, SystemClock(), lambda: None) as complete:
        assert complete(POD, WRITTEN) == WRITTEN
