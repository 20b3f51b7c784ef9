from ipaddress import IPv4Network

from libs.api.check import check_files
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from services.local import completions, manifests, weights
from services.local.addresses import plan
from services.local.mode import Mode
from services.local.options import SAMPLE


def _mesh(*, replace: tuple[str, str] = ("", "")) -> Mesh:
    files = [(str(path), path.read_text().replace(*replace)) for path in manifests.files(SAMPLE)]
    resources = [it.resource for it in check_files(files) if it.resource is not None]
    return apply(initial(MeshSettings()), [Upsert(one) for one in resources]).state.mesh


def test_weights_are_asked_for_by_version() -> None:
    assert weights.asked(_mesh()) == {"reviews": {"v1": 60.0, "v2": 30.0, "v3": 10.0}}


def test_a_version_that_is_not_named_is_asked_to_get_nothing() -> None:
    asked = weights.asked(_mesh(replace=("subset: v3", "subset: v2")))
    assert asked == {"reviews": {"v1": 60.0, "v2": 40.0, "v3": 0.0}}


def test_what_is_not_split_is_not_listed() -> None:
    assert weights.asked(_mesh(replace=("kind: VirtualService", "kind: Other"))) == {}


def test_completions_are_what_a_cluster_would_add() -> None:
    application = manifests.read(SAMPLE)
    addresses = plan(Mode.NAMESPACES, IPv4Network("10.66.0.0/16"), application)
    found = list(completions.documents(application, addresses))
    pods = {it["metadata"]["name"]: it for it in found if it["kind"] == "Pod"}  # type: ignore[index]
    labels = pods["reviews-v1"]["metadata"].get("labels")  # type: ignore[union-attr]
    assert labels == {"security.istio.io/tlsMode": "istio"}
    assert "labels" not in pods["legacy-v1"]["metadata"]  # type: ignore[operator]
    assert pods["legacy-v1"]["status"]["podIP"] == str(addresses.pods["legacy-v1.bookshop"].pod)  # type: ignore[index]
    services = [it for it in found if it["kind"] == "Service"]
    assert len(services) == len(application.services)
