import json

from libs.api.check import check_files
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from services.local import manifests
from services.local.observer import AFTERMATH_SECONDS, UNSETTLED_SECONDS, Observer
from services.local.options import SAMPLE
from services.local.rows import Mark
from services.local.verdict import Fate
from tests.support.clock import VirtualClock

PREFIX = "spiffe://cluster.local/ns/bookshop/sa"


def _mesh(*, replace: tuple[str, str] = ("", "")) -> Mesh:
    """The sample's mesh, with the label that injection sets."""
    label = ("    version:", "    security.istio.io/tlsMode: istio\n    version:")
    files = []
    for path in manifests.files(SAMPLE):
        text = path.read_text().replace(*replace)
        if path.name not in {"legacy.yaml", "reviews-weights.yaml"}:
            text = text.replace(*label)
        files.append((str(path), text))
    resources = [it.resource for it in check_files(files) if it.resource is not None]
    return apply(initial(MeshSettings()), [Upsert(one) for one in resources]).state.mesh


async def _observer() -> tuple[Observer, VirtualClock]:
    clock = VirtualClock()
    observer = Observer(manifests.read(SAMPLE), clock)
    observer.take_mesh(_mesh())
    await clock.advance(UNSETTLED_SECONDS)
    return observer, clock


def _visit(caller: str, service: str, outcome: str = "ok", *, proof: str = "") -> str:
    call = {
        "service": service,
        "port": 9080,
        "protocol": "HTTP",
        "request": "GET /",
        "outcome": outcome,
        "trail": {"instance": f"{service}-v1", "version": "v1", "caller": proof}
        if outcome == "ok"
        else {},
    }
    return json.dumps({"instance": caller, "call": call})


async def test_a_call_is_judged_by_the_manifests() -> None:
    observer, _ = await _observer()
    observer.line("visitors-v1", _visit("visitors-v1", "storefront", proof=f"{PREFIX}/visitors"))
    observer.line("legacy-v1", _visit("legacy-v1", "storefront"))
    observer.line("legacy-v1", _visit("legacy-v1", "reviews", "ClientOSError: reset"))
    observer.log("reviews-v1", json.dumps({"response_code_details": "filter_chain_not_found"}))
    rows = observer.rows()
    assert [row.mark for row in rows] == [Mark.RIGHT] * 3
    assert [row.verdict.fate for row in rows] == [Fate.ALLOWED, Fate.ALLOWED, Fate.REFUSED]
    assert observer.lost == []
    assert not observer.complete()
    assert "AuthorizationPolicy/bookshop/reviews-read-only" in observer.uncovered()
    assert "a call to payments" in observer.uncovered()


async def test_a_change_starts_the_table_anew_once_it_is_settled() -> None:
    observer, clock = await _observer()
    observer.line("visitors-v1", _visit("visitors-v1", "storefront", proof=f"{PREFIX}/visitors"))
    observer.take_mesh(_mesh(replace=("mode: STRICT", "mode: PERMISSIVE")))
    assert observer.rows() == []
    observer.line("legacy-v1", _visit("legacy-v1", "reviews"))
    assert observer.rows() == []
    observer.settled()
    await clock.advance(AFTERMATH_SECONDS)
    observer.line("legacy-v1", _visit("legacy-v1", "reviews"))
    (row,) = observer.rows()
    assert (row.verdict.fate, row.mark) == (Fate.ALLOWED, Mark.RIGHT)


async def test_the_same_mesh_again_is_no_change() -> None:
    observer, _ = await _observer()
    observer.line("visitors-v1", _visit("visitors-v1", "storefront", proof=f"{PREFIX}/visitors"))
    observer.take_mesh(_mesh())
    assert len(observer.rows()) == 1


async def test_lost_calls_are_counted_also_while_nothing_is_judged() -> None:
    observer, _ = await _observer()
    observer.take_mesh(_mesh(replace=("weight: 60", "weight: 59")))
    observer.line("visitors-v1", _visit("visitors-v1", "storefront", "503 no healthy upstream"))
    assert observer.lost == ["visitors-v1 to storefront: 503 no healthy upstream"]
    assert observer.rows() == []
