"""The audit log of an API server: who asked for what, and who was not allowed to.

Compares with the table of deploy/rbac.toml, in both directions: what is granted and was not used is
too much, what was asked for and not granted is too little.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from tests.tools.rbac import CLUSTER, Grant

POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: [{users}]
  - level: None
"""
LISTS = 2
_ACCOUNT = "system:serviceaccount:istio-system:"


class Use(Struct, frozen=True, order=True):
    """One way in which an account used the API."""

    service: str
    verb: str
    group: str
    resource: str  # with the subresource: pods/status
    place: str  # a namespace; empty: none, or all of them
    name: str
    allowed: bool


def policy(services: list[str]) -> str:
    """Return an audit policy that logs what the accounts of `services` do, and nothing else."""
    return POLICY.format(users=", ".join(_ACCOUNT + service for service in services))


def uses(log: Path) -> set[Use]:
    """Return what the log tells of service accounts of the control plane."""
    return set(_uses(log))


def events(log: Path) -> Iterator[Any]:
    """Yield what an audit log tells, but for a last line that is still being written."""
    for line in log.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _uses(log: Path) -> Iterator[Use]:
    for event in events(log):
        user, where = event["user"]["username"], event.get("objectRef")
        if not user.startswith(_ACCOUNT) or not where:
            continue
        sub = where.get("subresource", "")
        yield Use(
            service=user.removeprefix(_ACCOUNT),
            verb=event["verb"],
            group=where.get("apiGroup", ""),
            resource=where["resource"] + (f"/{sub}" if sub else ""),
            place=where.get("namespace", ""),
            name=where.get("name", ""),
            allowed=event["annotations"].get("authorization.k8s.io/decision") == "allow",
        )


def polled(log: Path, service: str) -> dict[str, int]:
    """Return what a service lists as if it did not watch: more than at its start and once again.

    Further pages of a list are none of their own, and neither is an answer of one row, which is how
    objects are counted. One list more is what an outage on a busy machine costs.
    """
    found = Counter(
        _what(event["requestURI"])
        for event in events(log)
        if event["verb"] == "list"
        and event["user"]["username"] == _ACCOUNT + service
        and _is_whole(event["requestURI"])
    )
    return {what: times for what, times in found.items() if times > LISTS}


def _what(uri: str) -> str:
    """Return what is listed: a path, and which of its objects."""
    url = urlsplit(uri)
    selected = parse_qs(url.query).get("fieldSelector", [""])[0]
    return f"{url.path} {selected}".rstrip()


def _is_whole(uri: str) -> bool:
    query = parse_qs(urlsplit(uri).query)
    return "continue" not in query and query.get("limit") != ["1"]


def refused(found: set[Use]) -> list[Use]:
    """Return what was asked for without a grant."""
    return sorted(use for use in found if not use.allowed)


def unused(grants: list[Grant], found: set[Use]) -> list[str]:
    """Return each verb of each resource that is granted and was never used."""
    return [
        f"{grant.service} may {verb} {resource}{'.' if group else ''}{group} in {grant.place}"
        for grant in grants
        for group, resource in grant.pairs
        for verb in grant.verbs
        if not any(_covers(grant, use, (group, resource, verb)) for use in found)
    ]


def _covers(grant: Grant, use: Use, what: tuple[str, str, str]) -> bool:
    return (
        use.allowed
        and use.service == grant.service
        and (use.group, use.resource, use.verb) == what
        and grant.place in {CLUSTER, use.place}
        and (not grant.names or use.name in grant.names)
    )
