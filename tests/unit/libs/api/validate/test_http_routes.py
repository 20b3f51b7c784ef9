import pytest

from tests.support.rulings import of_action, of_route, of_virtual_service

TO_A = "route: [{destination: {host: a}}]"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        # one action
        (TO_A, "timeout: 1s", "spec.http[0] MissingField"),
        ("redirect: {uri: /}", f"redirect: {{uri: /}}\n{TO_A}", "route ConflictingFields"),
        (
            "redirect: {uri: /}",
            "redirect: {uri: /}\nfault: {abort: {httpStatus: 500}}",
            "fault Conf",
        ),
        (
            "redirect: {uri: /}",
            "redirect: {uri: /}\nrewrite: {uri: /}",
            "rewrite ConflictingFields",
        ),
        (
            "directResponse: {status: 200}",
            "directResponse: {status: 200}\nredirect: {uri: /}",
            "directResponse ConflictingFields",
        ),
        (
            "directResponse: {status: 200}",
            f"directResponse: {{status: 200}}\n{TO_A}",
            "route ConflictingFields",
        ),
        ("delegate: {name: a}", f"delegate: {{name: a}}\n{TO_A}", "route ConflictingFields"),
        ("delegate: {name: a}", "delegate: {name: a}\nredirect: {uri: /}", "redirect Conflicting"),
        # conditions
        (
            f"{TO_A}\nmatch: [{{queryParams: {{a: {{}}}}}}]",
            f"{TO_A}\nmatch: [{{queryParams: {{'': {{}}}}}}]",
            "match[0].queryParams EmptyValue",
        ),
        (f"{TO_A}\nmatch: [{{port: 0}}]", f"{TO_A}\nmatch: [{{port: 65536}}]", "match[0].port Inv"),
        (
            f"{TO_A}\nmatch: [{{sourceLabels: {{a: b}}}}]",
            f"{TO_A}\nmatch: [{{sourceLabels: {{a: 'b c'}}}}]",
            "match[0].sourceLabels.a InvalidLabel",
        ),
        (
            f"{TO_A}\nmatch: [{{sourceNamespace: a}}]",
            f"{TO_A}\nmatch: [{{sourceNamespace: a.b}}]",
            "match[0].sourceNamespace InvalidName",
        ),
        (f"{TO_A}\ntimeout: 1ms", f"{TO_A}\ntimeout: 0s", "timeout InvalidDuration"),
        (f"{TO_A}\ntimeout: 1ms", f"{TO_A}\ntimeout: -1s", "timeout InvalidDuration"),
        # mirrors
        (
            f"{TO_A}\nmirror: {{host: b}}",
            f"{TO_A}\nmirror: {{host: b}}\nmirrors: [{{destination: {{host: b}}}}]",
            "mirrors ConflictingFields",
        ),
        (
            f"{TO_A}\nmirrorPercentage: {{value: 100}}",
            f"{TO_A}\nmirrorPercentage: {{value: 100.5}}",
            "mirrorPercentage.value OutOfRange",
        ),
        (
            f"{TO_A}\nmirrors: [{{destination: {{host: b}}, percentage: {{value: 0}}}}]",
            f"{TO_A}\nmirrors: [{{destination: {{host: b}}, percentage: {{value: -1}}}}]",
            "mirrors[0].percentage.value OutOfRange",
        ),
        (
            f"{TO_A}\nmirrors: [{{destination: {{host: b}}}}]",
            f"{TO_A}\nmirrors: [{{destination: {{host: '*'}}}}]",
            "mirrors[0].destination.host InvalidHost",
        ),
    ],
)
def test_routes(good: str, bad: str, found: str) -> None:
    assert of_action(good) == []
    (error,) = of_action(bad)
    assert error.startswith(found)


def test_the_old_share_of_a_mirror_still_works() -> None:
    mirror = "mirror: {host: b}\nmirrorPercent: %s"
    assert of_route(mirror % 100) == ["warning mirrorPercent Deprecated"]
    assert of_route(mirror % 101)[0] == "mirrorPercent OutOfRange"


def test_a_delegate_does_not_delegate() -> None:
    assert of_virtual_service(f"http: [{{{TO_A}}}]") == []
    found = of_virtual_service("http: [{delegate: {name: a}, redirect: {uri: /}}]")
    assert found == ["spec.http[0].delegate ConflictingFields"]


@pytest.mark.parametrize("field", ["headers", "withoutHeaders"])
def test_claims_are_matched_at_gateways_only(field: str) -> None:
    spec = (
        "hosts: [a.b]\ngateways: [%s]\nhttp: [{match: [{" + field + ": "
        "{'@request.auth.claims.sub': {exact: a}}}], " + TO_A + "}]"
    )
    assert of_virtual_service(spec % "edge") == []
    (error,) = of_virtual_service(spec % "edge, mesh")
    assert error.endswith(" NeedsGateway")
