"""Tokens: whose a service account token is, as the API server says (TokenReview).

A token counts only if it is for our audience and bound to a pod that still exists; the server
checks that, and its answer is believed only if it repeats the audience. A machine has no pod: its
token counts while whoever is asked says that machines may have its account. Answers are kept for a
few seconds by the token's digest, never longer than the token lives, so that an agent which opens
three streams at once costs one review. Which identity follows from it is not decided here.
"""

import base64
import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from libs.kube.answers import Answers
from libs.kube.client import Client
from libs.kube.errors import InvalidError, TokenRefusedError
from libs.runtime.clock import Clock

AUDIENCE = "istio-ca"
PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
KEEP_SECONDS = 10.0
KEEP_REFUSED_SECONDS = 2.0
MAX_TOKEN_CHARACTERS = 8 * 1024
MAX_KEPT = 10_000
MAX_WAITING = 512
CLOCK_SKEW_SECONDS = 60.0
_ACCOUNT = "system:serviceaccount:"
_EXTRA = "authentication.kubernetes.io/"


ForMachines = Callable[[str, str], Awaitable[bool]]
"""Tells whether machines outside the cluster may have an account (namespace, name)."""


async def for_pods(namespace: str, account: str) -> bool:
    """Let no machine have any account."""
    del namespace, account
    return False


class Bearer(Struct, frozen=True):
    """Whom a token proves: an account, in a pod, on a node; a machine's has neither."""

    namespace: str
    service_account: str
    account_uid: str
    pod: str
    pod_uid: str
    node: str = ""
    """Empty if the server does not say (before Kubernetes 1.32)."""
    node_uid: str = ""


class _Claims(Struct):
    exp: float = 0.0
    aud: list[str] | str = ""


class Reviewer:
    """Asks the API server about tokens."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        audience: str = AUDIENCE,
        for_machines: ForMachines = for_pods,
    ) -> None:
        self._client = client
        self._for_machines = for_machines
        self._clock = clock
        self._audience = audience
        self._answers: Answers[Bearer | str] = Answers(clock, size=MAX_KEPT, waiting=MAX_WAITING)

    async def review(self, token: str) -> Bearer:
        """Return whose token it is.

        Raises:
            TokenRefusedError: nobody's: the server says so, or it is not for us or for no pod.
            KubeError: it could not be asked; that is no reason to believe the token, nor to
                say that it is bad.

        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenRefusedError("it is too long")
        self._check_claims(token)
        digest = hashlib.sha256(token.encode()).digest()
        found = await self._answers.get(digest, lambda: self._ask(token))
        if isinstance(found, str):
            raise TokenRefusedError(found)
        return found

    def _check_claims(self, token: str) -> None:
        """Refuse what does not even claim to be good: that need not bother the API server."""
        claims = _claims(token)
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self._audience not in audiences:
            raise TokenRefusedError("it is not for this audience")
        if claims.exp < self._clock.now() - CLOCK_SKEW_SECONDS:
            raise TokenRefusedError("it has expired")

    async def _ask(self, token: str) -> tuple[Bearer | str, float]:
        """Return whose it is, or why it is nobody's, and for how long that is good."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            found = read(await self._client.request("POST", PATH, body=body), self._audience)
            await self._check_pod(found)
        except InvalidError:
            return "the API server does not take it for a token", KEEP_REFUSED_SECONDS
        except TokenRefusedError as error:
            return str(error), KEEP_REFUSED_SECONDS
        return found, min(KEEP_SECONDS, _claims(token).exp - self._clock.now())

    async def _check_pod(self, found: Bearer) -> None:
        """Refuse a token of no pod, unless machines may have its account."""
        if not found.pod and not await self._for_machines(found.namespace, found.service_account):
            raise TokenRefusedError("it is not bound to a pod")


def read(review: object, audience: str) -> Bearer:
    """Return whom a TokenReview that came back proves; without a pod if the token is of none.

    Raises:
        TokenRefusedError: nobody.

    """
    status = _mapping(_mapping(review).get("status"))
    if status.get("authenticated") is not True:
        raise TokenRefusedError("the API server does not believe it")
    if audience not in (status.get("audiences") or ()):
        raise TokenRefusedError("the API server did not check its audience")
    user = _mapping(status.get("user"))
    name = str(user.get("username", ""))
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    if not (name.startswith(_ACCOUNT) and namespace and colon and account):
        raise TokenRefusedError("it is not a service account's")
    extra = _mapping(user.get("extra"))
    found = Bearer(
        namespace=namespace,
        service_account=account,
        account_uid=str(user.get("uid", "")),
        pod=_one(extra, "pod-name"),
        pod_uid=_one(extra, "pod-uid"),
        node=_one(extra, "node-name"),
        node_uid=_one(extra, "node-uid"),
    )
    of_a_pod = any(_EXTRA + name in extra for name in ("pod-name", "pod-uid"))
    if not found.account_uid or (of_a_pod and not (found.pod and found.pod_uid)):
        raise TokenRefusedError("the API server does not say whose it is")
    return found


def _one(extra: Mapping[str, Any], name: str) -> str:
    values = extra.get(_EXTRA + name)
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _claims(token: str) -> _Claims:
    """Return what a token says of itself, believed or not.

    Raises:
        TokenRefusedError: it does not have the form of one.

    """
    parts = token.split(".")
    try:
        body = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(body, type=_Claims)
    except (IndexError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors, too
        raise TokenRefusedError("it does not have the form of a token") from error
    if len(parts) != 3 or not math.isfinite(claims.exp):
        raise TokenRefusedError("it does not have the form of a token")
    return claims
