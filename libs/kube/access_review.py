"""Access review: what somebody else may do in the cluster (SubjectAccessReview).

A permission counts for a minute at most after it was taken away, a refusal for a few seconds after
it was lifted. When the API server cannot be asked the answer is an error, never a yes.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.kube.answers import Answers
from libs.kube.client import Client
from libs.runtime.clock import Clock

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
KEEP_ALLOWED_SECONDS = 30.0
KEEP_DENIED_SECONDS = 5.0
MAX_KEPT = 10_000
MAX_WAITING = 512


class Question(Struct, frozen=True, kw_only=True):
    """May a service account do this?"""

    namespace: str
    service_account: str
    verb: str
    resource: str
    group: str = ""
    """API group; empty is the core group."""
    within: str = ""
    """Namespace of the objects; empty is the whole cluster."""
    name: str = ""
    """Name of the one object; empty is all of them."""


class AccessReviewer:
    """Asks the API server what service accounts may do."""

    def __init__(self, client: Client, *, clock: Clock) -> None:
        self._client = client
        self._answers: Answers[bool] = Answers(clock, size=MAX_KEPT, waiting=MAX_WAITING)

    async def may(self, question: Question) -> bool:
        """Tell whether it may.

        Raises:
            KubeError: the API server could not be asked.

        """
        return await self._answers.get(question, lambda: self._ask(question))

    async def _ask(self, question: Question) -> tuple[bool, float]:
        answer = await self._client.request("POST", PATH, body=_review(question))
        allowed = _allowed(answer)
        return allowed, KEEP_ALLOWED_SECONDS if allowed else KEEP_DENIED_SECONDS


def _review(question: Question) -> Mapping[str, Any]:
    namespace = question.namespace
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{question.service_account}",
            # What the server itself adds to an account that authenticates.
            "groups": [
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ],
            "resourceAttributes": {
                "group": question.group,
                "namespace": question.within,
                "name": question.name,
                "resource": question.resource,
                "verb": question.verb,
            },
        },
    }


def _allowed(answer: object) -> bool:
    status = answer.get("status") if isinstance(answer, Mapping) else None
    if not isinstance(status, Mapping):
        return False
    return status.get("allowed") is True and status.get("denied") is not True
