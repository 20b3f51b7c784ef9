import pytest
from prometheus_client import REGISTRY

from libs.pki import authority
from services.ca import expiry
from tests.support.pki import intermediate

NOW = 1_800_000_000.0
YEAR = 365 * 86_400.0


def test_what_ends_first_of_all_that_signs_counts() -> None:
    root = authority.generate("root", now=NOW, lifetime=10 * YEAR)
    signer = intermediate(root, period=(NOW, NOW + YEAR))
    assert expiry.life_left(signer, now=NOW + 0.8 * YEAR) == pytest.approx(0.2, abs=0.001)
    long = intermediate(root, period=(NOW, NOW + 9.9 * YEAR))
    assert expiry.life_left(long, now=NOW + 9.5 * YEAR) < 0.05


def test_a_root_that_only_has_to_be_trusted_does_not_count() -> None:
    going = authority.generate("going", now=NOW - 10 * YEAR)
    signer = authority.generate("staying", now=NOW)
    both = authority.Authority(
        key=signer.key,
        certificate=signer.certificate,
        intermediates=(),
        roots=[going.certificate, signer.certificate],
    )
    assert expiry.life_left(both, now=NOW) > 0.99


@pytest.mark.parametrize("plugged_in", [True, False])
def test_who_has_to_rotate_it_is_told(plugged_in: bool) -> None:
    expiry.publish(authority.generate("root", now=NOW), now=NOW, plugged_in=plugged_in)
    assert REGISTRY.get_sample_value("seine_ca_plugged_in") == plugged_in
    assert (REGISTRY.get_sample_value("seine_ca_life_left") or 0) > 0.99
