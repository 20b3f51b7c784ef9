"""Apply: hands the rules to the kernel through iptables-restore or nft, and takes them away again.

Laying rules twice gives the same rules: what an earlier run left is removed first. All rules of
one address family and table appear at once. Runs before the workload starts, in a process of its
own, so it may block.
"""

import logging
import shutil
import subprocess
from pathlib import Path

from services.agent.interception import nftables
from services.agent.interception.options import Mode, Options
from services.agent.interception.rules import IPV4, IPV6, TABLES, Family, Rule, builtin, restore

logger = logging.getLogger(__name__)

_WAIT = "--wait=30"  # seconds for the lock that another iptables may hold
_IF_INET6 = Path("/proc/net/if_inet6")
_BINARIES = {IPV4: "iptables", IPV6: "ip6tables"}


class InterceptionError(Exception):
    """The kernel or a program refused; the message carries its text."""


def families(options: Options) -> list[Family]:
    """Return the address families to lay rules for.

    IPv6 is in as soon as an interface other than loopback has an IPv6 address: connections over a
    family without rules would pass by the proxy.
    """
    return [IPV4, IPV6] if options.dual_stack or _has_ipv6() else [IPV4]


def lay(options: Options) -> None:
    """Replace whatever an earlier run left by the rules of `options`.

    Raises:
        InterceptionError: a program is missing or refused the rules.

    """
    for family in families(options):
        _lay_rules(options, family)
        if options.mode is Mode.TPROXY:
            _route(options, family)
        if family is IPV6:
            _own_passthrough()
    logger.info("interception rules laid", extra={"mode": options.mode})


def clean(options: Options) -> None:
    """Take away the rules of `options` and every chain of ours; what is not there is no error."""
    for family in families(options):
        _clean(options, family)
        if family is IPV6:
            _call([_program("ip"), "-6", "addr", "del", IPV6.passthrough, "dev", "lo"], text="")


def _own_passthrough() -> None:
    """Give loopback the address that Envoy calls its workload from.

    In IPv4 all of 127.0.0.0/8 is loopback's own. Where the kernel has IPv6 switched off there is
    nothing to call either, so the workload starts without.
    """
    done = _call([_program("ip"), "-6", "addr", "replace", IPV6.passthrough, "dev", "lo"], text="")
    if done.returncode != 0:
        said = {"address": IPV6.passthrough, "reason": done.stderr.strip()}
        logger.warning("no IPv6 into the workload", extra=said)


def _lay_rules(options: Options, family: Family) -> None:
    if options.native_nftables:  # which replaces in one transaction what there is
        _unroute(options, family)
        _run("nft", "-f", "-", text=nftables.ruleset(options, family))
    else:
        _clean(options, family)
        _run(f"{_BINARIES[family]}-restore", "--noflush", _WAIT, text=restore(options, family))


def _clean(options: Options, family: Family) -> None:
    if options.native_nftables:
        _run("nft", "-f", "-", text=nftables.removal(family))
    else:
        _clean_iptables(options, family)
    _unroute(options, family)


def _clean_iptables(options: Options, family: Family) -> None:
    binary = _BINARIES[family]
    for table, chain, text in builtin(options, family):
        _delete(binary, Rule(table, chain, text))
    for table in TABLES:
        saved = _run(f"{binary}-save", "-t", table, text="")
        if removal := removal_text(table, saved):
            _run(f"{binary}-restore", "--noflush", _WAIT, text=removal)


def removal_text(table: str, saved: str) -> str:
    """Return the restore text that removes every chain of ours that `iptables-save` printed."""
    lines = saved.splitlines()
    chains = [line[1:].split()[0] for line in lines if line.startswith(":ISTIO_")]
    jumps = [line for line in lines if _jumps_from_builtin(line)]
    if not chains and not jumps:
        return ""
    body = [f"-D{line[2:]}" for line in jumps]
    body += [f"-F {chain}" for chain in chains]
    body += [f"-X {chain}" for chain in chains]
    return "\n".join([f"*{table}", *body, "COMMIT", ""])


def _jumps_from_builtin(line: str) -> bool:
    words = line.split()
    return words[:1] == ["-A"] and not words[1].startswith("ISTIO_") and "-j ISTIO_" in line


def _delete(binary: str, rule: Rule) -> None:
    """Delete every copy of one rule; iptables fails when there is none left, which ends it."""
    command = [binary, _WAIT, "-t", rule.table, "-D", rule.chain, *rule.text.split()]
    for _ in range(8):
        if _call(command, text="").returncode != 0:
            return


def _route(options: Options, family: Family) -> None:
    """Deliver marked packets locally, whatever their destination: TPROXY needs it."""
    flag = f"-{family.version}"
    table, mark = options.tproxy_route_table, options.tproxy_mark
    _run("ip", flag, "rule", "add", "fwmark", mark, "lookup", table, text="")
    everything = "0.0.0.0/0" if family is IPV4 else "::/0"
    _run("ip", flag, "route", "add", "local", everything, "dev", "lo", "table", table, text="")


def _unroute(options: Options, family: Family) -> None:
    if options.mode is not Mode.TPROXY:
        return
    flag = f"-{family.version}"
    table, mark = options.tproxy_route_table, options.tproxy_mark
    _call([_program("ip"), flag, "rule", "del", "fwmark", mark, "lookup", table], text="")
    _call([_program("ip"), flag, "route", "flush", "table", table], text="")


def _has_ipv6() -> bool:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except FileNotFoundError:
        return False
    return any(line.split()[-1] != "lo" for line in lines if line)


def _run(name: str, *arguments: str, text: str) -> str:
    done = _call([_program(name), *arguments], text=text)
    if done.returncode != 0:
        message = f"{name} {' '.join(arguments)}: {done.stderr.strip() or done.returncode}"
        raise InterceptionError(message)
    return done.stdout


def _call(command: list[str], *, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)  # noqa: S603


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
    if found is None:
        message = f"{name} is not installed"
        raise InterceptionError(message)
    return found
