import msgspec
import pytest

from libs.pki import authority
from libs.pki.errors import AuthorityError
from services.ca import in_use
from services.ca.in_use import Record
from tests.support.pki import intermediate

NOW = 1_800_000_000.0


def names(signer: authority.Authority) -> list[str]:
    return [authority.identifier(root) for root in signer.roots]


def trusting(signer: authority.Authority, *roots: authority.Authority) -> authority.Authority:
    return authority.Authority(
        key=signer.key,
        certificate=signer.certificate,
        intermediates=signer.intermediates,
        roots=[root.certificate for root in roots],
    )


def test_what_is_written_is_read_again() -> None:
    root = authority.generate("plugged", now=NOW)
    state = in_use.begin(
        intermediate(root, period=(NOW - 60, NOW + 900)), Record(longest=77, own=3)
    )
    found = in_use.decode(in_use.encode(state), now=NOW)
    assert found.record == state.record
    assert in_use.is_same(found.signer, state.signer)


def test_the_roots_of_the_first_were_always_known_and_later_ones_since_they_came() -> None:
    old, new = (authority.generate(name, now=NOW) for name in ("old", "new"))
    first = in_use.begin(old, Record())
    both = in_use.follow(first, trusting(old, old, new), now=NOW + 5)
    assert both.record.since == {names(old)[0]: 0.0, names(new)[0]: NOW + 5}
    alone = in_use.follow(both, new, now=NOW + 9)
    assert alone.record.since == {names(new)[0]: NOW + 5}
    assert alone.record.generation == 3


def test_one_that_has_expired_can_still_be_read() -> None:
    root = authority.generate("plugged", now=NOW, lifetime=600)
    content = in_use.encode(in_use.begin(root, Record()))
    assert in_use.decode(content, now=NOW + 9000).signer.certificate == root.certificate


@pytest.mark.parametrize("record", [b"", b"[]", b'{"since": {}}', b'{"generation": "x"}'])
def test_a_record_that_does_not_fit_is_refused(record: bytes) -> None:
    content = in_use.encode(in_use.begin(authority.generate("plugged", now=NOW), Record()))
    with pytest.raises(AuthorityError):
        in_use.decode(content | {"in-use.json": record}, now=NOW)


def test_a_key_of_somebody_else_is_refused() -> None:
    mine, other = (authority.generate(name, now=NOW) for name in ("mine", "other"))
    content = in_use.encode(in_use.begin(mine, Record()))
    stolen = {"ca-key.pem": authority.to_content(other)["ca-key.pem"]}
    with pytest.raises(AuthorityError):
        in_use.decode(content | stolen, now=NOW)
    assert msgspec.json.decode(content["in-use.json"], type=Record).generation == 1
