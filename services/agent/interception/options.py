"""Options of `agent init`: the flags, with their environment and defaults, as one frozen value.

Names and defaults are those of istio-iptables, so that pod templates written for it work. Which
rules follow from them is decided in `rules`.
"""

import argparse
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address, ip_network

from msgspec import Struct

_ACCEPTED = "accepted, so that pod templates work; has no effect here"
INTERNAL_PORTS = ("15090", "15021", "15020")
"""The proxy's own ports: probes and scrapers must reach them whatever the user excludes."""


class Mode(StrEnum):
    """How inbound connections reach Envoy."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"


class OptionsError(ValueError):
    """A flag has a value that no rule can be made of; the message names the flag."""


class Options(Struct, frozen=True, kw_only=True):
    """What to intercept. Lists are in the user's order; `*` means everything."""

    outbound_port: str = "15001"
    inbound_port: str = "15006"
    tunnel_port: str = "15008"
    proxy_uids: tuple[str, ...] = ("1337",)
    proxy_gids: tuple[str, ...] = ("1337",)
    mode: Mode = Mode.REDIRECT
    tproxy_mark: str = "1337"
    tproxy_route_table: str = "133"
    inbound_ports: tuple[str, ...] = ("*",)
    inbound_ports_exclude: tuple[str, ...] = INTERNAL_PORTS
    outbound_cidrs: tuple[str, ...] = ("*",)
    outbound_cidrs_exclude: tuple[str, ...] = ()
    outbound_ports: tuple[str, ...] = ()
    outbound_ports_exclude: tuple[str, ...] = ()
    virtual_interfaces: tuple[str, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    owner_groups: tuple[str, ...] = ("*",)
    owner_groups_exclude: tuple[str, ...] = ()
    redirect_dns: bool = False
    capture_all_dns: bool = False
    dns_servers: tuple[str, ...] = ()
    agent_dns_port: str = "15053"
    drop_invalid: bool = False
    native_nftables: bool = False
    dual_stack: bool = False
    dry_run: bool = False
    skip_rule_apply: bool = False
    run_validation: bool = False
    cleanup_only: bool = False
    force_apply: bool = False
    reconcile: bool = False
    probe_port: str = "15002"
    probe_timeout: float = 5.0  # seconds


def parse(arguments: Sequence[str], environ: Mapping[str, str], resolv_conf: str = "") -> Options:
    """Return the options that the command line and Istio's environment variables ask for.

    `resolv_conf` is the text of /etc/resolv.conf: DNS capture redirects what goes to its servers.

    Raises:
        OptionsError: a value is not a port, range, group or mode.

    """
    flags = _parser(environ).parse_args(arguments)
    options = Options(
        outbound_port=_port("-p", flags.p),
        inbound_port=_port("-z", flags.z),
        tunnel_port=_port("-e", flags.e),
        proxy_uids=_words(flags.u),
        proxy_gids=_words(flags.g) or ("1337",),
        mode=_mode(flags.m),
        tproxy_mark=flags.t,
        tproxy_route_table=flags.r,
        inbound_ports=_ports("-b", flags.b),
        inbound_ports_exclude=_with_internal(_ports("-d", flags.d)),
        outbound_cidrs=_cidrs("-i", flags.i),
        outbound_cidrs_exclude=_cidrs("-x", flags.x),
        outbound_ports=_ports("-q", flags.q),
        outbound_ports_exclude=_ports("-o", flags.o),
        virtual_interfaces=_words(flags.k),
        exclude_interfaces=_words(flags.c),
        owner_groups=_words(flags.owner_groups) or ("*",),
        owner_groups_exclude=_words(flags.owner_groups_exclude),
        redirect_dns=flags.redirect_dns,
        capture_all_dns=flags.capture_all_dns,
        dns_servers=nameservers(resolv_conf),
        drop_invalid=flags.drop_invalid,
        native_nftables=flags.native_nftables,
        dual_stack=flags.dual_stack,
        dry_run=flags.dry_run,
        skip_rule_apply=flags.skip_rule_apply,
        run_validation=flags.run_validation,
        cleanup_only=flags.cleanup_only,
        force_apply=flags.force_apply,
        reconcile=flags.reconcile,
        probe_port=_port("--iptables-probe-port", flags.iptables_probe_port),
        probe_timeout=_seconds("--probe-timeout", flags.probe_timeout),
    )
    _check(options)
    return options


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """Return the servers that a resolv.conf names, without zone indexes."""
    lines = (line.split() for line in resolv_conf.splitlines())
    named = (words[1].split("%")[0] for words in lines if words[:1] == ["nameserver"] and words[1:])
    return tuple(server for server in named if _is_address(server))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "agent init", description="Lay the interception rules and exit."
    )
    _value_flags(parser, environ)
    _switches(parser, environ)
    for name in ("force-iptables-binary", "network-namespace"):
        parser.add_argument(f"--{name}", default="", help=_ACCEPTED)
    for name in ("cni-mode", "iptables-trace-logging"):
        parser.add_argument(f"--{name}", nargs="?", const="true", default="", help=_ACCEPTED)
    return parser


_VALUES = (
    ("-p", "--envoy-port", "15001", "where Envoy takes outbound connections"),
    ("-z", "--inbound-capture-port", "15006", "where Envoy takes inbound connections"),
    ("-e", "--inbound-tunnel-port", "15008", "where tunnels arrive; never intercepted"),
    ("-u", "--proxy-uid", "1337", "users whose connections are the proxy's own"),
    ("-g", "--proxy-gid", "1337", "groups whose connections are the proxy's own"),
    ("-m", "--istio-inbound-interception-mode", "REDIRECT", "REDIRECT or TPROXY"),
    ("-t", "--istio-inbound-tproxy-mark", "1337", "packet mark of TPROXY"),
    ("-r", "--istio-inbound-tproxy-route-table", "133", "routing table of TPROXY"),
    ("-b", "--istio-inbound-ports", "*", "inbound ports to intercept"),
    ("-d", "--istio-local-exclude-ports", "15090,15021,15020", "inbound ports to leave alone"),
    ("-i", "--istio-service-cidr", "*", "outbound ranges to intercept"),
    ("-x", "--istio-service-exclude-cidr", "", "outbound ranges to leave alone"),
    ("-q", "--istio-outbound-ports", "", "outbound ports to intercept whatever the range"),
    ("-o", "--istio-local-outbound-ports-exclude", "", "outbound ports to leave alone"),
    (
        "-k",
        "--kube-virt-interfaces",
        "",
        "interfaces of virtual machines, whose traffic is outbound",
    ),
    ("-c", "--istio-exclude-interfaces", "", "interfaces to leave alone"),
)


def _value_flags(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    for short, long, default, text in _VALUES:
        variable = long.removeprefix("--").replace("-", "_").upper()
        parser.add_argument(
            short, long, dest=short[1:], default=environ.get(variable, default), help=text
        )
    parser.add_argument("--iptables-probe-port", default="15002", help="port that validation dials")
    parser.add_argument("--probe-timeout", default="5s", help="how long validation may take")
    groups = environ.get("ISTIO_OUTBOUND_OWNER_GROUPS", "*")
    parser.add_argument("--owner-groups", default=groups, help="groups to intercept")
    excluded = environ.get("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "")
    parser.add_argument("--owner-groups-exclude", default=excluded, help="groups to leave alone")


_SWITCHES = (
    (("-n", "--dry-run"), "DRY_RUN", "print the rules, change nothing"),
    (("--redirect-dns",), "ISTIO_META_DNS_CAPTURE", "send DNS queries to the agent"),
    (("--capture-all-dns",), "CAPTURE_ALL_DNS", "whatever server they are for"),
    (("--drop-invalid",), "INVALID_DROP", "drop packets that conntrack calls invalid"),
    (("--native-nftables",), "NATIVE_NFTABLES", "lay the rules by nft instead of iptables"),
    (("--dual-stack",), "ISTIO_DUAL_STACK", "lay IPv6 rules even before an address is there"),
    (("--run-validation",), "RUN_VALIDATION", "connect through the rules; exit 126 if that fails"),
    (("--skip-rule-apply",), "SKIP_RULE_APPLY", "lay nothing (somebody else did)"),
    (("--cleanup-only",), "CLEANUP_ONLY", "take the rules away"),
    (("--reconcile",), "RECONCILE", "replace rules of an earlier run (always done)"),
    (("--force-apply",), "FORCE_APPLY", "accepted; rules of an earlier run are always replaced"),
)


def _switches(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    for names, variable, text in _SWITCHES:
        default = _boolean(environ.get(variable, "false"))
        parser.add_argument(
            *names, nargs="?", type=_boolean, const=True, default=default, help=text
        )


def _boolean(text: str) -> bool:
    return text.strip().lower() in {"1", "t", "true", "yes"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _with_internal(ports: tuple[str, ...]) -> tuple[str, ...]:
    return ports + tuple(port for port in INTERNAL_PORTS if port not in ports)


def _mode(text: str) -> Mode:
    try:
        return Mode(text.upper())
    except ValueError:
        message = f"-m: not an interception mode: {text!r}"
        raise OptionsError(message) from None


def _port(flag: str, text: str) -> str:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        message = f"{flag}: not a port: {text!r}"
        raise OptionsError(message)
    return text


def _ports(flag: str, text: str) -> tuple[str, ...]:
    words = _words(text)
    return ("*",) if "*" in words else tuple(_port(flag, word) for word in words)


def _cidrs(flag: str, text: str) -> tuple[str, ...]:
    words = _words(text)
    if "*" in words:
        return ("*",)
    try:
        return tuple(str(ip_network(word, strict=False)) for word in words)
    except ValueError as error:
        message = f"{flag}: {error}"
        raise OptionsError(message) from error


def _seconds(flag: str, text: str) -> float:
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        number = text.removesuffix(suffix)
        if text.endswith(suffix) and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    message = f"{flag}: not a duration: {text!r}"
    raise OptionsError(message)


def _check(options: Options) -> None:
    """Refuse what could smuggle a second rule in: these values are written as they are."""
    identifiers = (
        *options.proxy_uids,
        *options.proxy_gids,
        *options.owner_groups_exclude,
        *(group for group in options.owner_groups if group != "*"),
        *options.virtual_interfaces,
        *options.exclude_interfaces,
        options.tproxy_mark,
        options.tproxy_route_table,
    )
    for text in identifiers:
        if not all(char.isascii() and (char.isalnum() or char in "._-+@:") for char in text):
            message = f"not a name or number that a rule can hold: {text!r}"
            raise OptionsError(message)
