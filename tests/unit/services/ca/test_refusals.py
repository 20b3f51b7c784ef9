import logging

import grpc
import pytest
from prometheus_client import REGISTRY

from libs.pki import errors as pki
from libs.rpc.errors import CredentialError
from services.ca import refusals
from services.ca.errors import LimitedError, MalformedError, NotAllowedError


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("error", "metric", "labels"),
    [
        (CredentialError("x"), "citadel_server_authentication_failure_count", {}),
        (pki.TokenError("x"), "citadel_server_authentication_failure_count", {}),
        (pki.CsrError("x"), "citadel_server_csr_parsing_err_count", {}),
        (MalformedError("x"), "citadel_server_csr_parsing_err_count", {}),
        (LimitedError("peer"), "seine_ca_limited_total", {"limit": "peer"}),
        (
            pki.CertificateError("x"),
            "citadel_server_csr_sign_err_count",
            {"error": "CertificateError"},
        ),
        (NotAllowedError("x"), "citadel_server_csr_sign_err_count", {"error": "NotAllowedError"}),
    ],
)
def test_each_refusal_is_counted_once(
    error: Exception, metric: str, labels: dict[str, str]
) -> None:
    before = value(metric, **labels)
    refusals.note("/m", error)
    assert value(metric, **labels) == before + 1


def test_a_refusal_is_logged_with_its_reason_and_a_bug_with_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        refusals.note("/m", pki.TokenError("it has expired"))
        refusals.note("/m", ZeroDivisionError("bug"))
    refused, failed = caplog.records
    assert (refused.levelname, vars(refused)["reason"]) == ("INFO", "it has expired")
    assert failed.levelname == "ERROR"
    assert failed.exc_info is not None


def test_what_is_not_the_callers_fault_has_no_code_of_its_own() -> None:
    assert pki.CertificateError not in refusals.CODES
    assert pki.AuthorityError not in refusals.CODES
    assert grpc.StatusCode.OK not in refusals.CODES.values()
