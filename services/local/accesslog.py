"""Access logs: what the sidecars themselves say of calls, the second witness beside the programs.

A sidecar knows what no program can: who proved to be the peer of a raw TCP connection, and which
rule denied a call. Lines are Istio's JSON access log; `downstream_peer_uri_san` is our addition in
the mesh's settings, and where it is missing a caller is simply not known.
Only lines about incoming calls are of interest; the caller's own sidecar would say it again.
"""

import re

import msgspec
from msgspec import Struct

_RULE = re.compile(
    r"rbac_access_denied_matched_policy\[(none|ns\[.*?\]-policy\[.*?\]-rule\[\d+\])\]"
)
_NO_CHAIN = "filter_chain_not_found"
NO_RULE = "none"


class Entry(Struct, frozen=True):
    """One incoming call as its sidecar logged it."""

    port: int = 0  # of the workload; 0 if the call got nowhere
    peer: str = ""  # the SPIFFE id that was proved
    rule: str = ""  # of the policy that denied it; "none": no rule allowed it
    refused: bool = False  # no filter chain takes such a connection: plain text under STRICT


class _Line(Struct, frozen=True):
    upstream_cluster: str | None = None
    response_code_details: str | None = None
    connection_termination_details: str | None = None
    downstream_local_address: str | None = None
    downstream_peer_uri_san: str | None = None


_DECODER = msgspec.json.Decoder(_Line)


def parse(line: str) -> Entry | None:
    """Return what a line says of an incoming call; None if it is about anything else."""
    if not line.startswith("{"):
        return None
    try:
        found = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    details = f"{found.response_code_details} {found.connection_termination_details}"
    peer = (found.downstream_peer_uri_san or "").removeprefix("-")
    if rule := _RULE.search(details):
        return Entry(_port(found), peer, rule=rule.group(1))
    if _NO_CHAIN in details:
        return Entry(refused=True)
    if (found.upstream_cluster or "").startswith("inbound|"):
        return Entry(_port(found), peer)
    return None


def _port(line: _Line) -> int:
    cluster = (line.upstream_cluster or "").split("|")
    if cluster[0] == "inbound" and len(cluster) > 1 and cluster[1].isdigit():
        return int(cluster[1])
    port = (line.downstream_local_address or "").rpartition(":")[2]
    return int(port) if port.isdigit() else 0
