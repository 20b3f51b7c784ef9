"""What is a review, and what its answer looks like on the wire."""

import base64
import json

import pytest

from services.webhook import review
from services.webhook.errors import Reason, RefusedError
from services.webhook.review import Verdict


def _review(version: str = "v1") -> bytes:
    body = {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": {"uid": "u-1", "operation": "CREATE"},
    }
    return json.dumps(body).encode()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_answer_has_the_version_and_the_uid_of_the_question(version: str) -> None:
    found = review.read(_review(version))
    answer = json.loads(review.answer(found, Verdict()))
    assert answer["apiVersion"] == f"admission.k8s.io/{version}"
    assert answer["response"] == {"uid": "u-1", "allowed": True}


def test_a_patch_is_base64_with_its_type() -> None:
    answer = json.loads(review.answer(review.read(_review()), Verdict(patch=b"[]")))
    assert answer["response"]["patchType"] == "JSONPatch"
    assert base64.b64decode(answer["response"]["patch"]) == b"[]"


def test_a_refusal_carries_its_words_and_no_patch() -> None:
    verdict = Verdict(allowed=False, patch=b"[]", text="no", code=422, reason="Invalid")
    response = json.loads(review.answer(review.read(_review()), verdict))["response"]
    assert response["status"] == {"message": "no", "code": 422, "reason": "Invalid"}
    assert "patch" not in response


def test_warnings_are_few_short_and_printable() -> None:
    verdict = Verdict(warnings=["a\nb\x1b[31m" + "x" * 500] * 50)
    warnings = json.loads(review.answer(review.read(_review()), verdict))["response"]["warnings"]
    assert len(warnings) == review.MAX_WARNINGS
    assert all(len(one) <= review.MAX_TEXT and one.isprintable() for one in warnings)


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{}",
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"Pod","request":{"uid":"a"}}',
        b'{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview","request":{"uid":"a"}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":""}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":5}}',
    ],
    ids=range(14),
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        review.read(body)
    assert caught.value.reason is Reason.NOT_A_REVIEW
    assert caught.value.status == 400
    assert "Traceback" not in caught.value.text
