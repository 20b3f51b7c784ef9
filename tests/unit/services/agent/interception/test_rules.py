import pytest

from services.agent.interception.options import OptionsError, parse
from services.agent.interception.rules import IPV4, IPV6, Family, restore

DEFAULT = """\
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 \
-j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 \
-j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
"""

TPROXY_MANGLE = """\
*mangle
:ISTIO_DIVERT - [0:0]
:ISTIO_TPROXY - [0:0]
:ISTIO_INBOUND - [0:0]
-A ISTIO_DIVERT -j MARK --set-mark 1337
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006
-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
-A ISTIO_INBOUND -p tcp -s 127.0.0.6/32 -i lo -j RETURN
-A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
-A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark
-A OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -o lo -m owner --gid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark
COMMIT
"""

RESOLV_CONF = "nameserver 10.96.0.10\nsearch x\nnameserver fd00::a%eth0\nnameserver nonsense\n"


def rules(*flags: str, family: Family = IPV4, **environ: str) -> str:
    return restore(parse(flags, environ, RESOLV_CONF), family)


def chain(text: str, name: str) -> list[str]:
    prefix = f"-A {name} "
    return [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]


def test_without_flags_the_rules_are_those_that_users_know() -> None:
    assert rules() == DEFAULT


def test_ipv6_differs_only_in_the_two_loopback_addresses() -> None:
    twin = DEFAULT.replace("127.0.0.1/32", "::1/128").replace("127.0.0.6/32", "::6/128")
    assert rules(family=IPV6) == twin


def test_tproxy_marks_instead_of_redirecting_inbound() -> None:
    text = rules("-m", "TPROXY")
    assert text.startswith(TPROXY_MANGLE)
    assert "-A PREROUTING -p tcp -j ISTIO_INBOUND" not in text[text.index("*nat") :]


def test_named_inbound_ports_are_the_only_ones_caught() -> None:
    assert chain(rules("-b", "80,443"), "ISTIO_INBOUND")[1:] == [
        "-p tcp --dport 80 -j ISTIO_IN_REDIRECT",
        "-p tcp --dport 443 -j ISTIO_IN_REDIRECT",
    ]


def test_no_inbound_ports_means_no_inbound_interception() -> None:
    assert "PREROUTING" not in rules("-b", "")


def test_excluding_inbound_ports_never_catches_the_probes() -> None:
    caught = chain(rules("-d", "9000"), "ISTIO_INBOUND")
    for port in ("9000", "15090", "15021", "15020"):
        assert f"-p tcp --dport {port} -j RETURN" in caught


def test_outbound_ranges_exclude_before_they_include() -> None:
    flags = ("-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.0.0/16", "-q", "9999")
    assert chain(rules(*flags), "ISTIO_OUTPUT")[-4:] == [
        "-d 127.0.0.1/32 -j RETURN",
        "-d 10.1.0.0/16 -j RETURN",
        "-p tcp --dport 9999 -j ISTIO_REDIRECT",
        "-d 10.0.0.0/8 -j ISTIO_REDIRECT",
    ]
    assert chain(rules(*flags, family=IPV6), "ISTIO_OUTPUT")[-1] == "-d fd00::/8 -j ISTIO_REDIRECT"


def test_excluded_outbound_ports_leave_before_everything_else() -> None:
    assert chain(rules("-o", "25"), "ISTIO_OUTPUT")[:2] == [
        "-p tcp --dport 25 -j RETURN",
        "-p udp --dport 25 -j RETURN",
    ]


def test_a_loopback_range_that_is_asked_for_is_not_skipped() -> None:
    assert not [
        line
        for line in chain(rules("-i", "127.1.0.0/16"), "ISTIO_OUTPUT")
        if line.startswith("-o lo -m owner !")
    ]


def test_excluded_interfaces_come_first() -> None:
    text = rules("-c", "eth9")
    assert chain(text, "PREROUTING")[0] == "-i eth9 -j RETURN"
    assert chain(text, "OUTPUT")[0] == "-o eth9 -j RETURN"


def test_what_virtual_machines_send_is_outbound() -> None:
    assert chain(rules("-k", "tap0", "-i", "10.0.0.0/8"), "PREROUTING")[:2] == [
        "-i tap0 -d 10.0.0.0/8 -j ISTIO_REDIRECT",
        "-i tap0 -j RETURN",
    ]


def test_owner_groups() -> None:
    excluded = rules(ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE="java")
    assert "-m owner --gid-owner java -j RETURN" in chain(excluded, "ISTIO_OUTPUT")
    only = rules("--owner-groups", "101,202")
    match = "-m owner ! --gid-owner 101 -m owner ! --gid-owner 202 -j RETURN"
    assert match in chain(only, "ISTIO_OUTPUT")


def test_dns_capture_redirects_only_what_goes_to_the_configured_servers() -> None:
    text = rules(ISTIO_META_DNS_CAPTURE="true")
    nat = text[text.index("*nat") :]
    assert chain(nat, "ISTIO_OUTPUT_DNS") == [
        "-p tcp --dport 53 -d 10.96.0.10/32 -j REDIRECT --to-ports 15053",
        "-p udp --dport 53 -d 10.96.0.10/32 -j REDIRECT --to-ports 15053",
    ]
    output = chain(nat, "ISTIO_OUTPUT")
    assert output[1].startswith("-o lo ! -d 127.0.0.1/32 -p tcp -m multiport ! --dports 53,15008")
    assert "-o lo -p tcp ! --dport 53 -m owner ! --gid-owner 1337 -j RETURN" in output
    own, jump = output.index("-m owner --gid-owner 1337 -j RETURN"), "-j ISTIO_OUTPUT_DNS"
    assert own < output.index(jump) < output.index("-d 127.0.0.1/32 -j RETURN")


def test_dns_capture_keeps_the_agents_queries_apart_from_the_applications() -> None:
    text = rules("--redirect-dns", family=IPV6)
    raw = text[: text.index("*nat")]
    assert chain(raw, "ISTIO_OUTPUT_DNS")[-1] == "-p udp --dport 53 -d fd00::a/128 -j CT --zone 2"
    assert chain(raw, "ISTIO_INBOUND") == ["-p udp --sport 53 -s fd00::a/128 -j CT --zone 1"]
    everything = rules("--redirect-dns", "--capture-all-dns")
    assert "-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j CT --zone 2" in everything


def test_invalid_packets_are_dropped_on_request() -> None:
    text = rules(INVALID_DROP="true")
    assert "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP" in text
    assert "-A ISTIO_DROP -j DROP" in text


def test_the_default_group_stays_when_none_is_given() -> None:
    assert "--gid-owner 1337" in rules("-g", "", "-u", "1000")
    assert "--uid-owner" not in rules("-u", "")


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("-p", "70000"), "-p"),
        (("-b", "http"), "-b"),
        (("-i", "10.0.0.0/99"), "-i"),
        (("-m", "MAGIC"), "-m"),
        (("-c", "eth0 -j ACCEPT"), "eth0"),
        (("-g", "1\n-A OUTPUT -j DROP"), "DROP"),
        (("--probe-timeout", "soon"), "--probe-timeout"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(flags: tuple[str, ...], names: str) -> None:
    with pytest.raises(OptionsError, match=names):
        parse(flags, {})


def test_switches_take_a_value_or_none() -> None:
    assert parse(["--dry-run"], {}).dry_run
    assert parse(["--dry-run=true"], {}).dry_run
    assert not parse(["--dry-run=false"], {"DRY_RUN": "true"}).dry_run
    assert parse(["--probe-timeout", "250ms"], {}).probe_timeout == 0.25
