"""Rules: the text for iptables-restore that sends a workload's connections to its proxy.

Pure: options in, text out, one text per address family. Chains, their names and the order of rules
are Istio's, because people debug pods by `iptables-save`. A rule's place matters more than its
content: in ISTIO_OUTPUT the proxy's own connections must leave before anything is redirected, or
they would come back to it for ever. Applying the text is not done here.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from services.agent.interception.options import Mode, Options

OUTBOUND_MARK = "1338"
"""Marks what Envoy sends to the workload's own address, so that TPROXY catches it on the way in."""

TABLES = ("raw", "mangle", "nat")
_OWN = "ISTIO_"


class Rule(NamedTuple):
    """One rule: where it stands and its text after the chain's name."""

    table: str
    chain: str
    text: str


class Family(NamedTuple):
    """What differs between the two address families."""

    version: int
    loopback: str
    passthrough: str  # the source address of what Envoy sends to its own workload


IPV4 = Family(4, "127.0.0.1/32", "127.0.0.6/32")
IPV6 = Family(6, "::1/128", "::6/128")


def restore(options: Options, family: Family) -> str:
    """Return the text that `iptables-restore --noflush` (or ip6tables-restore) takes."""
    found = rules(options, family)
    tables = ([rule for rule in found if rule.table == name] for name in TABLES)
    return "".join(_table(of_table) for of_table in tables if of_table)


def rules(options: Options, family: Family) -> list[Rule]:
    """Return all rules of one address family, those of each chain in their order."""
    return [
        *_excluded_interfaces(options),
        *_virtual_interfaces(options, family),
        *_drop_invalid(options),
        *_redirect_chains(options),
        *_inbound(options, family),
        *_outbound(options, family),
        *_dns_zones(options, family),
        *_tproxy_marks(options, family),
    ]


def builtin(options: Options, family: Family) -> list[Rule]:
    """Return the rules in the kernel's own chains, which cleaning up removes one by one."""
    return [rule for rule in rules(options, family) if not rule.chain.startswith(_OWN)]


def _table(found: list[Rule]) -> str:
    name = found[0].table
    named = (name for rule in found for name in (rule.chain, rule.text.rpartition(" ")[2]))
    own = dict.fromkeys(chain for chain in named if chain.startswith(_OWN))
    lines = [f"*{name}", *(f":{chain} - [0:0]" for chain in own)]
    lines += [f"-A {rule.chain} {rule.text}" for rule in found]
    return "\n".join([*lines, "COMMIT", ""])


def _nat(chain: str, *texts: str) -> Iterator[Rule]:
    return (Rule("nat", chain, text) for text in texts)


def _mangle(chain: str, *texts: str) -> Iterator[Rule]:
    return (Rule("mangle", chain, text) for text in texts)


def _excluded_interfaces(options: Options) -> Iterator[Rule]:
    tables = ("nat", "mangle") if options.mode is Mode.TPROXY else ("nat",)
    for interface in options.exclude_interfaces:
        for table in tables:
            yield Rule(table, "PREROUTING", f"-i {interface} -j RETURN")
            yield Rule(table, "OUTPUT", f"-o {interface} -j RETURN")


def _virtual_interfaces(options: Options, family: Family) -> Iterator[Rule]:
    """What a virtual machine sends comes in through an interface, yet is outbound."""
    for interface in options.virtual_interfaces:
        for cidr in _of_family(options.outbound_cidrs, family):
            destination = "" if cidr == "*" else f"-d {cidr} "
            yield from _nat("PREROUTING", f"-i {interface} {destination}-j ISTIO_REDIRECT")
    for interface in options.virtual_interfaces:
        yield from _nat("PREROUTING", f"-i {interface} -j RETURN")


def _drop_invalid(options: Options) -> Iterator[Rule]:
    if options.drop_invalid:
        yield Rule("mangle", "PREROUTING", "-m conntrack --ctstate INVALID -j ISTIO_DROP")
        yield Rule("mangle", "ISTIO_DROP", "-j DROP")


def _redirect_chains(options: Options) -> Iterator[Rule]:
    yield from _nat("ISTIO_INBOUND", f"-p tcp --dport {options.tunnel_port} -j RETURN")
    yield from _nat("ISTIO_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.outbound_port}")
    yield from _nat("ISTIO_IN_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.inbound_port}")


def _inbound(options: Options, family: Family) -> Iterator[Rule]:
    if not options.inbound_ports:
        return
    tproxy = options.mode is Mode.TPROXY
    if tproxy:
        yield from _tproxy_chains(options, family)
    table = "mangle" if tproxy else "nat"
    yield Rule(table, "PREROUTING", "-p tcp -j ISTIO_INBOUND")
    catch = _tproxy_catch if tproxy else _redirect_catch
    if options.inbound_ports == ("*",):
        for port in options.inbound_ports_exclude:
            yield Rule(table, "ISTIO_INBOUND", f"-p tcp --dport {port} -j RETURN")
        yield from catch("-p tcp")
    else:
        for port in options.inbound_ports:
            yield from catch(f"-p tcp --dport {port}")


def _redirect_catch(match: str) -> Iterator[Rule]:
    return _nat("ISTIO_INBOUND", f"{match} -j ISTIO_IN_REDIRECT")


def _tproxy_catch(match: str) -> Iterator[Rule]:
    return _mangle(
        "ISTIO_INBOUND",
        f"{match} -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT",
        f"{match} -j ISTIO_TPROXY",
    )


def _tproxy_chains(options: Options, family: Family) -> Iterator[Rule]:
    mark = options.tproxy_mark
    yield from _mangle("ISTIO_DIVERT", f"-j MARK --set-mark {mark}", "-j ACCEPT")
    yield from _mangle(
        "ISTIO_TPROXY",
        f"! -d {family.loopback} -p tcp -j TPROXY"
        f" --tproxy-mark {mark}/0xffffffff --on-port {options.inbound_port}",
    )
    yield from _mangle(
        "ISTIO_INBOUND",
        f"-p tcp -m mark --mark {mark} -j RETURN",
        f"-p tcp -s {family.passthrough} -i lo -j RETURN",
        f"-p tcp -i lo -m mark ! --mark {OUTBOUND_MARK} -j RETURN",
    )


def _outbound(options: Options, family: Family) -> Iterator[Rule]:
    yield from _nat("OUTPUT", "-j ISTIO_OUTPUT")
    for port in options.outbound_ports_exclude:
        yield from _output(f"-p tcp --dport {port} -j RETURN", f"-p udp --dport {port} -j RETURN")
    yield from _output(f"-o lo -s {family.passthrough} -j RETURN")
    for uid in options.proxy_uids:
        yield from _owner(options, family, f"--uid-owner {uid}")
    for gid in options.proxy_gids:
        yield from _owner(options, family, f"--gid-owner {gid}")
    yield from _owner_groups(options)
    yield from _dns_redirect(options, family)
    yield from _output(f"-d {family.loopback} -j RETURN")
    for cidr in _of_family(options.outbound_cidrs_exclude, family):
        yield from _output(f"-d {cidr} -j RETURN")
    yield from _outbound_catch(options, family)


def _output(*texts: str) -> Iterator[Rule]:
    return _nat("ISTIO_OUTPUT", *texts)


def _owner(options: Options, family: Family, owner: str) -> Iterator[Rule]:
    """The three rules for what the proxy itself sends; `owner` is a uid or gid match."""
    ports = f"! --dport {options.tunnel_port}"
    if options.redirect_dns and owner.startswith("--uid"):
        ports = f"-m multiport ! --dports 53,{options.tunnel_port}"
    yield from _output(
        f"-o lo ! -d {family.loopback} -p tcp {ports} -m owner {owner} -j ISTIO_IN_REDIRECT"
    )
    if not any(_is_loopback(cidr) for cidr in options.outbound_cidrs):
        dns = "-p tcp ! --dport 53 " if options.redirect_dns else ""
        yield from _output(f"-o lo {dns}-m owner ! {owner} -j RETURN")
    yield from _output(f"-m owner {owner} -j RETURN")


def _owner_groups(options: Options) -> Iterator[Rule]:
    if options.owner_groups == ("*",):
        for group in options.owner_groups_exclude:
            yield from _output(f"-m owner --gid-owner {group} -j RETURN")
    else:
        none_of = " ".join(f"-m owner ! --gid-owner {group}" for group in options.owner_groups)
        yield from _output(f"{none_of} -j RETURN")


def _outbound_catch(options: Options, family: Family) -> Iterator[Rule]:
    for port in options.outbound_ports:
        match = "-p tcp" if port == "*" else f"-p tcp --dport {port}"
        yield from _output(f"{match} -j ISTIO_REDIRECT")
    for cidr in _of_family(options.outbound_cidrs, family):
        destination = "" if cidr == "*" else f"-d {cidr} "
        yield from _output(f"{destination}-j ISTIO_REDIRECT")


def _dns_redirect(options: Options, family: Family) -> Iterator[Rule]:
    if not options.redirect_dns:
        return
    yield from _output("-j ISTIO_OUTPUT_DNS")
    for protocol in ("tcp", "udp"):
        for server in _dns_matches(options, family, "-d"):
            target = f"-j REDIRECT --to-ports {options.agent_dns_port}"
            yield from _nat("ISTIO_OUTPUT_DNS", f"-p {protocol} --dport 53 {server}{target}")


def _dns_zones(options: Options, family: Family) -> Iterator[Rule]:
    """Queries of the agent and of the application get conntrack zones of their own.

    Both may use the same source port to the same server, which one zone could not tell apart.
    """
    if not options.redirect_dns:
        return
    yield Rule("raw", "OUTPUT", "-j ISTIO_OUTPUT_DNS")
    owners = [f"--uid-owner {uid}" for uid in options.proxy_uids]
    owners += [f"--gid-owner {gid}" for gid in options.proxy_gids]
    for owner in owners:
        yield Rule("raw", "ISTIO_OUTPUT_DNS", f"-p udp --dport 53 -m owner {owner} -j CT --zone 1")
        source = f"-p udp --sport {options.agent_dns_port} -m owner {owner} -j CT --zone 2"
        yield Rule("raw", "ISTIO_OUTPUT_DNS", source)
    for server in _dns_matches(options, family, "-d"):
        yield Rule("raw", "ISTIO_OUTPUT_DNS", f"-p udp --dport 53 {server}-j CT --zone 2")
    yield Rule("raw", "PREROUTING", "-j ISTIO_INBOUND")
    for server in _dns_matches(options, family, "-s"):
        yield Rule("raw", "ISTIO_INBOUND", f"-p udp --sport 53 {server}-j CT --zone 1")


def _dns_matches(options: Options, family: Family, flag: str) -> list[str]:
    if options.capture_all_dns:
        return [""]
    own = [server for server in options.dns_servers if ip_address(server).version == family.version]
    return [f"{flag} {server}/{32 if family is IPV4 else 128} " for server in own]


def _tproxy_marks(options: Options, family: Family) -> Iterator[Rule]:
    """Replies of the application must find back to Envoy's transparent socket: marks carry that."""
    if options.mode is not Mode.TPROXY or not options.inbound_ports:
        return
    mark = options.tproxy_mark
    yield from _mangle("PREROUTING", f"-p tcp -m mark --mark {mark} -j CONNMARK --save-mark")
    yield from _mangle("OUTPUT", f"-p tcp -o lo -m mark --mark {mark} -j RETURN")
    owners = [f"--uid-owner {uid}" for uid in options.proxy_uids]
    owners += [f"--gid-owner {gid}" for gid in options.proxy_gids]
    for owner in owners:
        match = f"! -d {family.loopback} -p tcp -o lo -m owner {owner}"
        yield from _mangle("OUTPUT", f"{match} -j MARK --set-mark {OUTBOUND_MARK}")
    yield from _mangle("OUTPUT", f"-p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark")


def _of_family(cidrs: Iterable[str], family: Family) -> list[str]:
    return [cidr for cidr in cidrs if cidr == "*" or ip_network(cidr).version == family.version]


def _is_loopback(cidr: str) -> bool:
    return cidr != "*" and ip_network(cidr).is_loopback
