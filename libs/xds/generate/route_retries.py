"""Retries of a route: whether, when and how often a request is tried again.

Every route retries twice on failures that are safe to repeat, at another host, unless the routing
or the mesh says otherwise. Under consistent hashing another host would be the wrong one.
"""

from http import HTTPStatus

from envoy.config.route.v3.route_components_pb2 import RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)
from google.protobuf.any_pb2 import Any

from libs.model.traffic import Retries
from libs.xds.generate import typed

_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_BY_STATUS = "retriable-status-codes"
_ATTEMPTS = 2
_STATUSES = frozenset(int(status) for status in HTTPStatus)

_OTHER_HOSTS = RetryPolicy.RetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts",
    typed_config=typed.pack(PreviousHostsPredicate()),
)


def _other_priorities() -> Any:
    return typed.pack(PreviousPrioritiesConfig(update_frequency=2))


def policy(wanted: Retries | None, *, hashed: bool) -> RetryPolicy | None:
    """Return the retry policy of a route, or None if nothing is to be retried.

    `hashed` routes send each key to one host, so a retry goes there again.
    """
    if wanted is not None and wanted.attempts <= 0:
        return None
    found = RetryPolicy(retry_on=_RETRY_ON, host_selection_retry_max_attempts=5)
    found.num_retries.value = _ATTEMPTS if wanted is None else wanted.attempts
    elsewhere = not hashed
    if wanted is not None:
        _specialise(found, wanted)
        if wanted.retry_ignore_previous_hosts is not None:
            elsewhere = wanted.retry_ignore_previous_hosts
    if elsewhere:
        found.retry_host_predicate.append(_OTHER_HOSTS)
    return found


def _specialise(found: RetryPolicy, wanted: Retries) -> None:
    if wanted.retry_on:
        found.retry_on, statuses = _conditions(wanted.retry_on)
        found.retriable_status_codes.extend(statuses)
    if wanted.per_try_timeout is not None:
        found.per_try_timeout.FromMilliseconds(wanted.per_try_timeout)
    if wanted.retry_remote_localities:
        found.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        found.retry_priority.typed_config.CopyFrom(_other_priorities())
    if wanted.backoff is not None:
        found.retry_back_off.base_interval.FromMilliseconds(wanted.backoff)


def _conditions(written: str) -> tuple[str, list[int]]:
    """Return the conditions and the statuses among them; naming a status asks for their check."""
    parts = [part.strip() for part in written.split(",") if part.strip()]
    statuses = [int(part) for part in parts if _is_status(part)]
    conditions = [part for part in parts if not _is_status(part)]
    if statuses and not any(_BY_STATUS in condition for condition in conditions):
        conditions.append(_BY_STATUS)
    return ",".join(conditions), statuses


def _is_status(part: str) -> bool:
    return part.isascii() and part.isdigit() and int(part) in _STATUSES
