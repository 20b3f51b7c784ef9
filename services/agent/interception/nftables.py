"""Nftables: the same rules as text for `nft -f -`, for nodes whose kernels have no iptables.

Pure: options in, text out. Each rule of `rules` is translated, so that what is caught is decided
once. Chains keep their names; tables are `istio-proxy-<table>`, of one address family each. A text
replaces what an earlier one laid, in one transaction. Applying it is not done here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from services.agent.interception.options import Options
from services.agent.interception.rules import IPV4, IPV6, TABLES, Family, Rule, rules

_HOOKS = {
    ("raw", "PREROUTING"): "type filter hook prerouting priority raw",
    ("raw", "OUTPUT"): "type filter hook output priority raw",
    ("mangle", "PREROUTING"): "type filter hook prerouting priority mangle",
    ("mangle", "OUTPUT"): "type route hook output priority mangle",
    ("nat", "PREROUTING"): "type nat hook prerouting priority dstnat",
    ("nat", "OUTPUT"): "type nat hook output priority -100",
}
_WORDS = {IPV4: "ip", IPV6: "ip6"}


def ruleset(options: Options, family: Family) -> str:
    """Return the text that replaces every rule of ours in one family by those of `options`."""
    found = rules(options, family)
    tables = ([rule for rule in found if rule.table == name] for name in TABLES)
    return removal(family) + "".join(_table(of_table, family) for of_table in tables if of_table)


def removal(family: Family) -> str:
    """Return the text that takes every table of ours away; it need not be there."""
    places = [f"{_WORDS[family]} {_name(table)}" for table in TABLES]
    return "".join(f"table {place}\ndelete table {place}\n" for place in places)


def _name(table: str) -> str:
    return f"istio-proxy-{table}"


def _table(found: list[Rule], family: Family) -> str:
    chains: dict[str, list[str]] = {}
    for rule in found:
        chains.setdefault(rule.chain, []).append(_statement(rule.text, family))
        target = rule.text.rpartition("-j ")[2]
        if target.startswith("ISTIO_"):
            chains.setdefault(target, [])
    lines = [f"table {_WORDS[family]} {_name(found[0].table)} {{"]
    for chain, statements in chains.items():
        hook = _HOOKS.get((found[0].table, chain))
        lines.append(f"\tchain {chain} {{")
        lines += [f"\t\t{hook}; policy accept;"] if hook else []
        lines += [f"\t\t{statement}" for statement in statements]
        lines.append("\t}")
    return "\n".join([*lines, "}", ""])


class _Match(NamedTuple):
    """One match of a rule. `module` is the word after the last `-m`, `protocol` that after `-p`."""

    flag: str
    value: str
    module: str
    protocol: str
    family: str


def _statement(text: str, family: Family) -> str:
    matched, _, target = text.rpartition("-j ")
    return " ".join([*_matches(matched.split(), _WORDS[family]), _target(target.split())])


def _matches(words: list[str], family: str) -> Iterator[str]:
    negated, module, protocol = "", "", ""
    rest = iter(words)
    for word in rest:
        if word == "!":
            negated = "!= "
            continue
        value = next(rest)
        if word == "-m":
            module = value
            continue
        if word == "-p":
            protocol = value
        of, what = _MATCHES[word](_Match(word, value, module, protocol, family))
        yield f"{of} {negated}{what}"
        negated = ""


def _interface(match: _Match) -> tuple[str, str]:
    of = "iifname" if match.flag == "-i" else "oifname"
    return of, '"' + match.value.replace("+", "*") + '"'


def _port(match: _Match) -> tuple[str, str]:
    numbers = match.value.replace(",", ", ")
    many = f"{{ {numbers} }}" if "," in numbers else numbers
    return f"{match.protocol} {match.flag.strip('-').removesuffix('s')}", many


def _mark(match: _Match) -> tuple[str, str]:
    return ("ct mark" if match.module == "connmark" else "meta mark"), match.value


_MATCHES: Mapping[str, Callable[[_Match], tuple[str, str]]] = {
    "-p": lambda match: ("meta l4proto", match.value),
    "-i": _interface,
    "-o": _interface,
    "-s": lambda match: (f"{match.family} saddr", match.value),
    "-d": lambda match: (f"{match.family} daddr", match.value),
    "--dport": _port,
    "--sport": _port,
    "--dports": _port,
    "--uid-owner": lambda match: ("meta skuid", match.value),
    "--gid-owner": lambda match: ("meta skgid", match.value),
    "--mark": _mark,
    "--ctstate": lambda match: ("ct state", match.value.lower()),
}


def _target(words: list[str]) -> str:
    name, *arguments = words
    if name.startswith("ISTIO_"):
        return f"jump {name}"
    return _TARGETS[name](*arguments)


def _tproxy(_flag: str, mark: str, _port_flag: str, port: str) -> str:
    return f"tproxy to :{port} meta mark set {mark.partition('/')[0]} accept"


def _mark_of_connection(flag: str) -> str:
    return "ct mark set meta mark" if flag == "--save-mark" else "meta mark set ct mark"


_TARGETS: Mapping[str, Callable[..., str]] = {
    "RETURN": lambda: "return",
    "ACCEPT": lambda: "accept",
    "DROP": lambda: "drop",
    "REDIRECT": lambda _, port: f"redirect to :{port}",
    "MARK": lambda _, mark: f"meta mark set {mark}",
    "CONNMARK": _mark_of_connection,
    "CT": lambda _, zone: f"ct zone set {zone}",
    "TPROXY": _tproxy,
}
"""What follows `-j`, with the words after it."""
