"""Refusals: each error's status code, metric and log line, in one place.

The caller is told the code. Why, and about whom, is in the log only: whoever probes the CA learns
nothing from it.
"""

import logging

import grpc

from libs.kube import errors as kube
from libs.pki import errors as pki
from libs.rpc.errors import CredentialError
from services.ca import metrics
from services.ca.errors import (
    LimitedError,
    MalformedError,
    NotAllowedError,
    UnconfirmedError,
    UnsyncedError,
)

logger = logging.getLogger(__name__)

CODES: dict[type[Exception], grpc.StatusCode] = {
    CredentialError: grpc.StatusCode.UNAUTHENTICATED,
    pki.TokenError: grpc.StatusCode.UNAUTHENTICATED,
    kube.TokenRefusedError: grpc.StatusCode.UNAUTHENTICATED,
    # Whether a token is good cannot be known while the API server cannot be asked: a reason to come
    # back, never one to believe, nor to tell a pod that its token is bad.
    kube.KubeError: grpc.StatusCode.UNAVAILABLE,
    UnconfirmedError: grpc.StatusCode.UNAVAILABLE,
    UnsyncedError: grpc.StatusCode.UNAVAILABLE,
    LimitedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotAllowedError: grpc.StatusCode.PERMISSION_DENIED,
    MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    pki.CsrError: grpc.StatusCode.INVALID_ARGUMENT,
    pki.LifetimeError: grpc.StatusCode.INVALID_ARGUMENT,
}


def note(method: str, error: Exception) -> None:
    """Count and log one refusal."""
    _count(error)
    if isinstance(error, tuple(CODES)):
        logger.info(
            "request refused",
            extra={"method": method, "kind": type(error).__name__, "reason": str(error)},
        )
    else:
        logger.error("request failed", extra={"method": method}, exc_info=error)


def _count(error: Exception) -> None:
    if isinstance(error, CredentialError | pki.TokenError | kube.TokenRefusedError):
        metrics.AUTHENTICATION_FAILURES.inc()
    elif isinstance(error, kube.KubeError):
        metrics.UNREVIEWED.inc()
    elif isinstance(error, LimitedError):
        metrics.LIMITED.labels(limit=error.limit).inc()
    elif isinstance(error, MalformedError | pki.CsrError):
        metrics.CSR_PARSING_ERRORS.inc()
    else:
        metrics.CSR_SIGN_ERRORS.labels(error=type(error).__name__).inc()
