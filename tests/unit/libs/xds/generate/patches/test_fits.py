"""What is refused and what has no effect: of each rule a bad value and a good one."""

import json

import pytest

from libs.xds.generate.patches.fits import fits

EXTENSIONS = "type.googleapis.com/envoy.extensions."
LUA = f"{EXTENSIONS}filters.http.lua.v3.Lua"
OLD = "type.googleapis.com/envoy.config.filter.http.lua.v2.Lua"
TLS = f"{EXTENSIONS}transport_sockets.tls.v3.UpstreamTlsContext"


def of(target: str, value: object) -> tuple[str, str]:
    return fits(target, json.dumps(value).encode())


def typed(kind: str, **fields: object) -> dict[str, object]:
    return {"name": "x", "typed_config": {"@type": kind, **fields}}


@pytest.mark.parametrize(
    ("target", "good", "bad", "why"),
    [
        ("CLUSTER", {"connect_timeout": "1m"}, {"connect_timeout": "soon"}, "connect_timeout"),
        ("CLUSTER", {"type": "STRICT_DNS"}, {"type": "strict_dns"}, "strict_dns"),
        ("CLUSTER", {"name": "a"}, {"name": 1}, "name"),
        (
            "CLUSTER",
            {"per_connection_buffer_limit_bytes": 4294967295},
            {"per_connection_buffer_limit_bytes": 4294967296},
            "per_connection_buffer_limit_bytes",
        ),
        (
            "CLUSTER",
            {"transport_socket": typed(TLS, sni="a")},
            {"transport_socket": typed(TLS, sni=5)},
            "sni",
        ),
        ("VIRTUAL_HOST", {"domains": ["a"]}, {"domains": "a"}, "domains"),
        ("HTTP_FILTER", typed(LUA), typed(OLD), "v3 only"),
        ("HTTP_FILTER", typed(LUA), {"name": "x", "typed_config": "a"}, "typed_config"),
    ],
)
def test_what_is_refused(target: str, good: object, bad: object, why: str) -> None:
    assert of(target, good) == ("", "")
    refused, in_vain = of(target, bad)
    assert why in refused
    assert in_vain == ""


@pytest.mark.parametrize(
    ("target", "good", "odd", "why"),
    [
        ("CLUSTER", {"name": "a"}, {"nom": "a"}, "nom"),
        ("HTTP_FILTER", typed(LUA), typed(LUA, nope="a"), "nope"),
        ("HTTP_FILTER", typed(LUA), {"name": "bare"}, "typed_config"),
        ("HTTP_FILTER", typed(LUA), {}, "typed_config"),
        ("CLUSTER", {"transport_socket": typed(TLS)}, {"transport_socket": {"name": "x"}}, "typed"),
        ("HTTP_FILTER", typed(LUA), typed("type.googleapis.com/stats.PluginConfig"), "stats.Pl"),
        ("HTTP_FILTER", typed(LUA), typed(f"{EXTENSIONS}filters.http.lua.v3.Nope"), "v3.Nope"),
    ],
)
def test_what_has_no_effect(target: str, good: object, odd: object, why: str) -> None:
    assert of(target, good) == ("", "")
    refused, in_vain = of(target, odd)
    assert refused == ""
    assert why in in_vain


def test_what_is_discovered_needs_no_config_of_its_own() -> None:
    discovered = {"config_source": {"ads": {}}, "type_urls": [LUA]}
    assert of("HTTP_FILTER", {"name": "x", "config_discovery": discovered}) == ("", "")
