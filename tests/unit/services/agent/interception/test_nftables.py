import pytest

from services.agent.interception import nftables
from services.agent.interception.options import parse
from services.agent.interception.rules import IPV4, IPV6, rules

DEFAULT = """\
table ip istio-proxy-nat {
	chain ISTIO_INBOUND {
		meta l4proto tcp tcp dport 15008 return
		meta l4proto tcp tcp dport 15090 return
		meta l4proto tcp tcp dport 15021 return
		meta l4proto tcp tcp dport 15020 return
		meta l4proto tcp jump ISTIO_IN_REDIRECT
	}
	chain ISTIO_REDIRECT {
		meta l4proto tcp redirect to :15001
	}
	chain ISTIO_IN_REDIRECT {
		meta l4proto tcp redirect to :15006
	}
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		meta l4proto tcp jump ISTIO_INBOUND
	}
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		jump ISTIO_OUTPUT
	}
	chain ISTIO_OUTPUT {
		oifname "lo" ip saddr 127.0.0.6/32 return
		oifname "lo" ip daddr != 127.0.0.1/32 meta l4proto tcp tcp dport != 15008 \
meta skuid 1337 jump ISTIO_IN_REDIRECT
		oifname "lo" meta skuid != 1337 return
		meta skuid 1337 return
		oifname "lo" ip daddr != 127.0.0.1/32 meta l4proto tcp tcp dport != 15008 \
meta skgid 1337 jump ISTIO_IN_REDIRECT
		oifname "lo" meta skgid != 1337 return
		meta skgid 1337 return
		ip daddr 127.0.0.1/32 return
		jump ISTIO_REDIRECT
	}
}
"""

EVERYTHING = (
    *("-m", "TPROXY", "--redirect-dns", "--drop-invalid", "-c", "eth1+", "-k", "tap0"),
    *("-x", "10.0.0.0/8,fd00::/8", "-q", "8080", "-o", "53", "--owner-groups", "5,6"),
)


def test_the_usual_rules() -> None:
    text = nftables.ruleset(parse((), {}), IPV4)
    assert text == nftables.removal(IPV4) + DEFAULT


def test_what_was_laid_before_goes_in_the_same_transaction() -> None:
    text = nftables.removal(IPV6)
    for table in ("raw", "mangle", "nat"):
        assert f"table ip6 istio-proxy-{table}\ndelete table ip6 istio-proxy-{table}\n" in text


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_every_rule_is_translated(family: nftables.Family) -> None:
    options = parse(EVERYTHING, {}, "nameserver 10.96.0.10\nnameserver fd00::10\n")
    text = nftables.ruleset(options, family)
    statements = [line for line in text.splitlines() if line.startswith("\t\t")]
    hooks = [line for line in statements if " hook " in line]
    assert len(statements) - len(hooks) == len(rules(options, family))
    assert not any(" -" in line for line in statements if line not in hooks)


@pytest.mark.parametrize(
    "line",
    [
        'oifname "eth1*" return',
        "meta l4proto udp udp sport 15053 meta skuid 1337 ct zone set 2",
        "meta l4proto tcp tcp dport != { 53, 15008 } meta skuid 1337 jump ISTIO_IN_REDIRECT",
        "ct state invalid jump ISTIO_DROP",
        "ct state related,established jump ISTIO_DIVERT",
        "meta l4proto tcp ct mark 1337 meta mark set ct mark",
        "meta l4proto tcp meta mark 1337 ct mark set meta mark",
        "tproxy to :15006 meta mark set 1337 accept",
        'iifname "lo" meta mark != 1338 return',
        "meta skgid != 5 meta skgid != 6 return",
    ],
)
def test_one_rule_of_each_sort(line: str) -> None:
    options = parse(EVERYTHING, {}, "nameserver 10.96.0.10\n")
    assert line in nftables.ruleset(options, IPV4)
