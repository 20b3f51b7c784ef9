"""AuthorizationPolicy: who may do what to a workload.

Values of a list are ORed, fields of a source or operation ANDed, and so are from, to and when.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from libs.api.resource import IstioResource, Message
from libs.api.selector import TargetReference, WorkloadSelector

Account = Annotated[str, Meta(max_length=320)]
Accounts = Annotated[tuple[Account, ...], Meta(max_length=16)]


class Action(StrEnum):
    """What a matching rule does."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Source(Message, frozen=True):
    """Conditions on the caller."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: Accounts = ()
    not_service_accounts: Accounts = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


class Operation(Message, frozen=True):
    """Conditions on what is called."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class From(Message, frozen=True):
    """An entry of `from`."""

    source: Source | None = None


class To(Message, frozen=True):
    """An entry of `to`."""

    operation: Operation | None = None


class Condition(Message, frozen=True):
    """A condition on an attribute such as `request.headers[x]`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class Rule(Message, frozen=True):
    """Matches if one source, one operation and every condition match; None matches everything."""

    from_: Annotated[tuple[From, ...], Meta(max_length=512)] | None = field(
        default=None, name="from"
    )
    to: tuple[To, ...] | None = None
    when: tuple[Condition, ...] = ()


class ExtensionProvider(Message, frozen=True):
    """The extension provider that decides, for CUSTOM."""

    name: str = ""


class AuthorizationPolicySpec(Message, frozen=True):
    """Fields of the kind; `rules` None and empty alike match nothing."""

    selector: WorkloadSelector | None = None
    target_ref: TargetReference | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    action: Action = Action.ALLOW
    provider: ExtensionProvider | None = None
    rules: Annotated[tuple[Rule, ...], Meta(max_length=512)] | None = None


class AuthorizationPolicy(IstioResource, frozen=True):
    """The kind."""

    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
