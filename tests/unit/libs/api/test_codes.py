"""Which of Istio's codes a problem has."""

import re

import pytest

from libs.api import codes, reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref


@pytest.mark.parametrize(
    ("ref", "path", "reason", "text", "code"),
    [
        ("VirtualService/a/b", "", reasons.HOST_NOT_FOUND, "", "IST0101"),
        ("DestinationRule/a/b", "", reasons.HOST_NOT_FOUND, "", "IST0174"),
        ("VirtualService/a/b", "", reasons.CONFLICTING_HOST, "", "IST0109"),
        ("Gateway/a/b", "", reasons.CONFLICTING_HOST, "", "IST0145"),
        ("ServiceEntry/a/b", "", reasons.CONFLICTING_HOST, "", ""),
        (
            "DestinationRule/a/b",
            "spec.trafficPolicy.tls",
            reasons.UNPINNED_AUTHORITY,
            "",
            "IST0128",
        ),
        (
            "DestinationRule/a/b",
            "x.portLevelSettings[0]",
            reasons.UNPINNED_AUTHORITY,
            "",
            "IST0129",
        ),
        ("EnvoyFilter/a/b", "", reasons.NO_EFFECT, "REPLACE does nothing to a CLUSTER", "IST0152"),
        ("EnvoyFilter/a/b", "", reasons.NO_EFFECT, "nothing comes of it", ""),
        ("Gateway/a/b", "", reasons.NO_EFFECT, "REMOVE", ""),
        ("", "", reasons.INVALID_YAML, "", ""),
    ],
)
def test_codes_of_problems(ref: str, path: str, reason: str, text: str, code: str) -> None:
    assert codes.of(Problem(Ref(ref), path, reason, text)) == code


def test_what_validation_finds_has_always_a_code() -> None:
    wrong = Problem(Ref("Gateway/a/b"), "", reasons.INVALID_HOST, "")
    assert codes.of_schema(wrong) == "IST0106"
    odd = Problem(Ref("Gateway/a/b"), "", reasons.EMPTY_SELECTOR, "", Severity.WARNING)
    assert codes.of_schema(odd) == "IST0133"
    known = Problem(Ref("Gateway/a/b"), "", reasons.DEPRECATED, "", Severity.WARNING)
    assert codes.of_schema(known) == "IST0002"


def test_every_code_has_the_form_of_one() -> None:
    every = [code for name in reasons.describe() for code in reasons.codes(name).values()]
    assert every
    assert all(re.fullmatch(r"IST0\d{3}", code) for code in every)
