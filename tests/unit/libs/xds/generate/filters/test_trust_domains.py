import pytest

from libs.model.settings import MeshSettings
from libs.xds.generate.filters.trust_domains import TrustDomains

MOVED = TrustDomains(MeshSettings(trust_domain="new", trust_domain_aliases=("old", "older")))
END = "ns/shop/sa/alice"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (f"new/{END}", ["new", "old", "older"]),
        (f"older/{END}", ["new", "old", "older"]),
        (f"cluster.local/{END}", ["new", "old", "older"]),
        (f"other/{END}", ["other"]),
        (f"*/{END}", ["*"]),
        (f"*ld/{END}", ["new", "*ld", "older"]),
        (f"old*/{END}", ["new", "old", "older"]),
    ],
)
def test_identities_of_this_mesh_are_meant_in_all_its_domains(
    written: str, meant: list[str]
) -> None:
    assert MOVED.principals([written]) == tuple(f"{domain}/{END}" for domain in meant)


@pytest.mark.parametrize("written", ["*", "old*", "old/ns/shop*", "spiffe://x", ""])
def test_what_is_no_whole_identity_stays_as_it_is(written: str) -> None:
    assert MOVED.principals([written]) == (written,)


def test_domains_of_this_mesh_are_one() -> None:
    assert MOVED.domains(["x", "old"]) == ("x", "new", "old", "older")
    assert MOVED.domains(["*"]) == ("*",)


def test_without_aliases_nothing_changes() -> None:
    plain = TrustDomains(MeshSettings())
    assert plain.principals([f"cluster.local/{END}"]) == (f"cluster.local/{END}",)
    assert plain.names == ("cluster.local",)
