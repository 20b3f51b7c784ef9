"""Which resources are let through, and what their writers are told."""

import json
from collections.abc import Sequence

import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from services.webhook.review import GroupVersionKind, Question, Verdict
from services.webhook.validation.errors import UnforeseenError
from services.webhook.validation.judge import SHOWN, Judge

NETWORKING = "networking.istio.io"


def _routes(**http: object) -> dict[str, object]:
    rule = {"route": [{"destination": {"host": "web"}}], **http}
    return {"hosts": ["web"], "http": [rule]}


def _resource(
    spec: object, kind: str = "VirtualService", group: str = NETWORKING, **metadata: object
) -> dict[str, object]:
    metadata = {"name": "routes", "namespace": "shop", **metadata}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def _nothing(resource: bytes) -> Sequence[Problem]:
    assert json.loads(resource)
    return []


async def _judged(
    written: object,
    operation: str = "CREATE",
    sub_resource: str = "",
    *,
    judge: Judge | None = None,
) -> Verdict:
    kind = written.get("kind", "") if isinstance(written, dict) else ""
    question = Question(
        uid="u",
        kind=GroupVersionKind(NETWORKING, "v1", kind),
        operation=operation,
        object=Raw(json.dumps(written).encode()),
        sub_resource=sub_resource,
    )
    return await (judge or Judge(_nothing)).judge(question, "/validate")


async def test_a_good_resource_is_let_through_without_a_word() -> None:
    assert await _judged(_resource(_routes())) == Verdict()
    assert await _judged(_resource(_routes()), "UPDATE") == Verdict()


def _patch(**value: object) -> dict[str, object]:
    patch = {"operation": "MERGE", "value": value}
    spec = {"priority": 1, "configPatches": [{"applyTo": "CLUSTER", "patch": patch}]}
    return {**_resource(spec, kind="EnvoyFilter"), "apiVersion": f"{NETWORKING}/v1alpha3"}


async def test_a_patch_is_refused_for_what_it_holds() -> None:
    found = await _judged(_patch(connect_timeout="soon"))
    assert not found.allowed
    assert "spec.configPatches[0].patch.value: " in found.text
    assert "connect_timeout" in found.text
    good = await _judged(_patch(connect_timeout="1m"))
    assert good.allowed
    assert "(PatchMisfit)" not in "".join(good.warnings)
    odd = await _judged(_patch(connect_timeot="1m"))
    assert odd.allowed
    assert "connect_timeot" in "".join(odd.warnings)


BAD = _resource(_routes(timeout="soon"))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (BAD, "VirtualService/shop/routes has 1 error:\n- spec.http[0].timeout: "),
        (_resource(_routes(timout="1s")), "- spec.http[0].timout: "),
        (_resource(_routes(), colour="red") | {"data": {}}, "- data: "),
        (_resource(_routes(), annotations={"internal.istio.io/parents": "a"}), "(Inv"),
        (_resource({"rules": 1}, "AuthorizationPolicy", "security.istio.io"), "- spec.rules: "),
        (_resource({}, "Nonsense"), "there is no kind 'Nonsense'"),
        (None, "the object has 1 error:\n- a resource is a mapping"),
        ([], "(NotAnObject)"),
    ],
)
async def test_a_bad_one_is_refused_with_the_path_of_each_error(written: object, told: str) -> None:
    verdict = await _judged(written)
    assert not verdict.allowed
    assert (verdict.code, verdict.reason) == (400, "BadRequest")
    assert told in verdict.text


@pytest.mark.parametrize(
    ("operation", "sub_resource"), [("DELETE", ""), ("CONNECT", ""), ("UPDATE", "status")]
)
async def test_what_stores_no_configuration_is_not_judged(
    operation: str, sub_resource: str
) -> None:
    assert await _judged(BAD, operation, sub_resource) == Verdict()


async def test_all_errors_are_told_at_once_up_to_a_number() -> None:
    verdict = await _judged(_resource(_routes(**{f"x{number}": 1 for number in range(SHOWN + 5)})))
    assert f"has {SHOWN + 5} errors:" in verdict.text
    assert verdict.text.count("\n") == SHOWN + 1
    assert verdict.text.endswith("- and 5 more")


async def test_warnings_are_told_and_let_through() -> None:
    filters = {"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}]}
    served = {"apiVersion": f"{NETWORKING}/v1alpha3"}
    verdict = await _judged(_resource(filters, "EnvoyFilter") | served)
    assert verdict.allowed
    assert any("RelativePatch" in warning for warning in verdict.warnings)


def _foreseen(ref: str, path: str = "spec.hosts[0]") -> Problem:
    return Problem(Ref(ref), path, "HostNotFound", "no service is called web", Severity.ERROR)


async def test_what_others_make_of_it_is_told_but_does_not_refuse() -> None:
    own, other = _foreseen("VirtualService/shop/routes"), _foreseen("VirtualService/shop/other")

    async def foresee(resource: bytes) -> Sequence[Problem]:
        assert json.loads(resource)["metadata"]["name"] == "routes"
        return [own, other]

    verdict = await _judged(_resource(_routes()), judge=Judge(foresee))
    text = "spec.hosts[0]: no service is called web (HostNotFound)"
    assert verdict.allowed
    assert verdict.warnings == (text, f"VirtualService/shop/other {text}")


async def test_many_warnings_end_with_their_number() -> None:
    async def foresee(_: bytes) -> Sequence[Problem]:
        return [_foreseen("VirtualService/shop/routes", f"spec.hosts[{at}]") for at in range(30)]

    verdict = await _judged(_resource(_routes()), judge=Judge(foresee))
    assert len(verdict.warnings) == SHOWN
    assert verdict.warnings[-1] == "and 11 more"


async def test_it_is_told_when_discovery_cannot_be_asked() -> None:
    async def foresee(_: bytes) -> Sequence[Problem]:
        message = "discovery answers UNAVAILABLE"
        raise UnforeseenError(message)

    verdict = await _judged(_resource(_routes()), judge=Judge(foresee))
    assert verdict.allowed
    (warning,) = verdict.warnings
    assert "not looked at" in warning
    assert "UNAVAILABLE" in warning


async def test_large_ones_are_judged_alike() -> None:
    rules = [{"route": [{"destination": {"host": "web"}}]}] * 400
    assert (await _judged(_resource({"hosts": ["web"], "http": rules}))).allowed
    rules = [*rules, {"route": [{"destination": {"host": "a b"}}]}]
    verdict = await _judged(_resource({"hosts": ["web"], "http": rules}))
    assert "- spec.http[400].route[0].destination.host: " in verdict.text


async def test_only_known_kinds_are_counted_by_name() -> None:
    def failed(**labels: str) -> float:
        labels = {"version": "v1", "group": NETWORKING} | labels
        return REGISTRY.get_sample_value("galley_validation_failed", labels) or 0.0

    known = {"resource": "virtualservices", "reason": "InvalidDuration"}
    unknown = dict.fromkeys(("resource", "group", "version"), "unknown") | {"reason": "UnknownKind"}
    before = failed(**known), failed(**unknown)
    await _judged(BAD)
    await _judged(_resource({}, "Nonsense"))
    assert (failed(**known), failed(**unknown)) == (before[0] + 1, before[1] + 1)
