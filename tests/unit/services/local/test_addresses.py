from ipaddress import IPv4Network

import pytest
from msgspec import structs

from services.local import addresses, manifests
from services.local.addresses import AddressError
from services.local.mode import Mode
from services.local.options import SAMPLE

APPLICATION = manifests.read(SAMPLE)
NETWORK = IPv4Network("127.66.0.0/16")


@pytest.mark.parametrize("mode", list(Mode))
def test_nobody_shares_an_address_with_another(mode: Mode) -> None:
    plan = addresses.plan(mode, NETWORK, APPLICATION)
    own = [
        address
        for place in plan.pods.values()
        for address in {place.pod, place.application, place.outbound}
    ]
    servers = [plan.host, plan.ca, plan.discovery, plan.config_push, plan.redis]
    found = [*map(str, own), *map(str, servers), *plan.services.values()]
    assert len(found) == len(set(found))
    places = len(plan.pods) * (3 if mode is Mode.LOOPBACK else 1)
    assert len(own) == places


def test_who_had_an_address_keeps_it_and_nobody_inherits_one() -> None:
    plan = addresses.plan(Mode.NAMESPACES, NETWORK, APPLICATION)
    first, *rest = APPLICATION.pods
    new = structs.replace(first, name="aaa")
    other = structs.replace(APPLICATION, pods=(new, *rest))
    after = addresses.plan(Mode.NAMESPACES, NETWORK, other, before=plan)
    assert {key: plan.pods[key] for key in after.pods if key != new.key} == {
        key: place for key, place in after.pods.items() if key != new.key
    }
    assert after.pods[new.key].pod not in {place.pod for place in plan.pods.values()}


def test_there_is_an_end_of_addresses() -> None:
    pods = tuple(structs.replace(APPLICATION.pods[0], name=f"p{n}") for n in range(251))
    with pytest.raises(AddressError, match="at most 250"):
        addresses.plan(Mode.LOOPBACK, NETWORK, structs.replace(APPLICATION, pods=pods))


def test_two_runs_claim_different_loopback_networks() -> None:
    one, claim = addresses.claim_loopback()
    two, other = addresses.claim_loopback()
    assert not one.overlaps(two)
    claim.close()
    other.close()
