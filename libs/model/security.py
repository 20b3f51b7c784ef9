"""What is wanted of security: mutual TLS (PeerPolicy) and who may do what (AccessPolicy)."""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref


class MtlsMode(StrEnum):
    """What a server's proxy accepts. UNSET inherits from the wider scope."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class PeerPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The mutual TLS mode of a mesh, a namespace, or the workloads that `selector` covers."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}  # empty: the whole namespace, or mesh if in the root namespace
    mode: MtlsMode = MtlsMode.UNSET
    ports: dict[int, MtlsMode] = {}  # keyed by the workload's port


class Action(StrEnum):
    """What a matching rule does."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Source(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Conditions on the caller: fields are ANDed, values within a field ORed."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()  # `<namespace>/<account>`
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


class Operation(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Conditions on what is called."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class Condition(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A condition on an attribute such as `request.headers[x]`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class AccessRule(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Matches when any source, any operation and every condition do; an empty list always does."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


class AccessPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Who may call the workloads of `selector`. No rules match nothing; an empty rule, all."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}
    action: Action = Action.ALLOW
    rules: tuple[AccessRule, ...] = ()
    provider: str = ""
    dry_run: bool = False
    targets: tuple[
        str, ...
    ] = ()  # gateways, `<kind>/<name>`; a policy with targets has no selector
