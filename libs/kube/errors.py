"""What this room raises.

KubeError
 ├─ AccessError               there is no usable kubeconfig and no service account
 ├─ UnreachableError          no answer: refused, reset, late, or not who it should be
 ├─ MalformedError            it answered with what nobody can read: cut off, or from a proxy
 ├─ PageStatusError           the port of a pod answered, and not with the page that was asked for
 ├─ TokenRefusedError         a service account token that proves nothing
 ├─ LeaseLostError            this process is not the leader (any more)
 └─ ApiError                  it answered, and not with success
     ├─ UnauthorizedError     401: the credential is not good (any more)
     ├─ ForbiddenError        403: RBAC or admission says no; the message names what was asked
     ├─ NotFoundError         404: no such object, or no such kind (a CRD that is missing)
     ├─ ConflictError         409: it changed meanwhile, or it is there already (`reason`)
     ├─ GoneError             410: the resourceVersion is too old; list again
     ├─ InvalidError          400 and 422: the object is wrong; trying again will not help
     ├─ BusyError             429: later; `retry_after` says when
     └─ ServerError           5xx: later
"""

from collections.abc import Mapping
from typing import Any

MESSAGE_CHARACTERS = 1024


class KubeError(Exception):
    """Base of all errors of this room."""


class AccessError(KubeError):
    """Give a kubeconfig, or run in a pod with a service account."""


class UnreachableError(KubeError):
    """Try again later; the vendor's error is the cause."""


class MalformedError(KubeError):
    """Ask again later: the answer was cut off, or is not from an API server."""


class PageStatusError(KubeError):
    """There is no such page, or not for this reader; `status` is that of HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the port answered {status}")
        self.status = status


class TokenRefusedError(KubeError):
    """The caller's token is nobody's; the message is for the log, without the token."""


class LeaseLostError(KubeError):
    """Write nothing; wait for the next turn."""


class ApiError(KubeError):
    """The API server answered with a Status that is no success."""

    def __init__(
        self, status: int, reason: str, message: str, *, retry_after: float | None = None
    ) -> None:
        """Say `status` (HTTP), `reason` (Kubernetes' word) and `message`.

        `retry_after` in seconds, if the server gave one.
        """
        super().__init__(f"{status} {reason}: {message[:MESSAGE_CHARACTERS]}")
        self.status = status
        self.reason = reason
        self.message = message[:MESSAGE_CHARACTERS]
        self.retry_after = retry_after


class UnauthorizedError(ApiError):
    """The credential is missing, expired or unknown."""


class ForbiddenError(ApiError):
    """The identity may not do that: grant it, or it never will."""


class NotFoundError(ApiError):
    """The object does not exist, or nothing serves the path."""


class ConflictError(ApiError):
    """Read again and decide again; `reason` is Conflict or AlreadyExists."""


class GoneError(ApiError):
    """List again: what was asked for has been compacted away."""


class InvalidError(ApiError):
    """The object or the request is wrong."""


class BusyError(ApiError):
    """The server asks for patience."""


class ServerError(ApiError):
    """The server failed."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: BusyError,
}


def error_of(status: int, answer: object, *, retry_after: float | None = None) -> ApiError:
    """Return the error that an answer stands for; `answer` is a decoded Status or some text."""
    reason, message = _words(answer)
    found = ServerError if status >= 500 else _BY_STATUS.get(status, ApiError)
    return found(status, reason or "Unknown", message, retry_after=retry_after)


def _words(answer: object) -> tuple[str, str]:
    if isinstance(answer, Mapping):
        known: Mapping[str, Any] = answer
        return str(known.get("reason") or ""), str(known.get("message") or "")
    return "", str(answer)
