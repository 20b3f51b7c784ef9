"""Review: what the API server asks of a webhook, and the answer in the version of the question.

The object is left as bytes: who judges it decodes it, as data or as a kind. Whatever the bytes are,
reading them ends in a Question or in a RefusedError.
"""

import base64
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct, field

from services.webhook.errors import Reason, RefusedError

GROUP = "admission.k8s.io"
VERSIONS = frozenset({f"{GROUP}/v1", f"{GROUP}/v1beta1"})
KIND = "AdmissionReview"
MAX_WARNINGS = 20
MAX_TEXT = 256
"""Of one warning; API servers cut longer ones, and drop all beyond 4096 characters."""

_NULL = Raw(b"null")


class GroupVersionKind(Struct, frozen=True):
    """A kind in a version."""

    group: str = ""
    version: str = ""
    kind: str = ""


class Question(Struct, frozen=True, rename="camel", kw_only=True):
    """The `request` of a review. `object` and `old_object` are JSON, `null` if there is none."""

    uid: str
    kind: GroupVersionKind = GroupVersionKind()
    name: str = ""
    namespace: str = ""
    operation: str = ""
    sub_resource: str = ""
    dry_run: bool | None = None
    object: Raw = field(default_factory=lambda: _NULL)
    old_object: Raw = field(default_factory=lambda: _NULL)


class Verdict(Struct, frozen=True, kw_only=True):
    """The answer. `patch` is a JSON Patch; `text` says why not, `code` is its HTTP status."""

    allowed: bool = True
    patch: bytes = b""
    text: str = ""
    code: int = 0
    reason: str = ""
    warnings: Sequence[str] = ()


class Review(Struct, frozen=True, rename="camel"):
    """A question with the version in which it was asked."""

    api_version: str
    kind: str
    request: Question


_DECODER = msgspec.json.Decoder(Review)
_ENCODER = msgspec.json.Encoder()


def read(body: bytes) -> Review:
    """Return the review in a body.

    Raises:
        RefusedError: there is none in it.

    """
    try:
        found = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        text = f"not an AdmissionReview: {_clean(str(error))}"
        raise RefusedError(Reason.NOT_A_REVIEW, text) from error
    if found.kind != KIND or found.api_version not in VERSIONS:
        text = f"must be an {KIND} of {' or '.join(sorted(VERSIONS))}"
        raise RefusedError(Reason.NOT_A_REVIEW, text)
    if not found.request.uid:
        raise RefusedError(Reason.NOT_A_REVIEW, "request.uid is empty")
    return found


def answer(review: Review, verdict: Verdict) -> bytes:
    """Return the body of the answer."""
    response: dict[str, object] = {"uid": review.request.uid, "allowed": verdict.allowed}
    if verdict.text:
        response["status"] = {
            "message": verdict.text,
            "code": verdict.code or 200,
            "reason": verdict.reason,
        }
    if verdict.allowed and verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(verdict.patch).decode()
    if verdict.warnings:
        shown = verdict.warnings[:MAX_WARNINGS]
        response["warnings"] = [_clean(warning)[:MAX_TEXT] for warning in shown]
    return _ENCODER.encode({"apiVersion": review.api_version, "kind": KIND, "response": response})


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
