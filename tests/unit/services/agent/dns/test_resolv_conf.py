from services.agent.dns import resolv_conf


def test_servers_and_search_domains_are_read() -> None:
    found = resolv_conf.parse(
        "# comment\nsearch shop.svc.cluster.local svc.cluster.local.\n"
        "nameserver 10.96.0.10\nnameserver fe80::1\nnameserver nonsense\n; x\noptions ndots:5\n"
    )
    assert found.servers == ("10.96.0.10", "fe80::1")
    assert found.search == ("shop.svc.cluster.local", "svc.cluster.local")


def test_no_more_servers_than_resolvers_use() -> None:
    text = "".join(f"nameserver 10.0.0.{number}\n" for number in range(9))
    assert len(resolv_conf.parse(text).servers) == 3
    assert resolv_conf.parse("") == resolv_conf.Resolv()
