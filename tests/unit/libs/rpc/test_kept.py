from pathlib import Path

import pytest

from libs.model.ids import SpiffeId
from libs.pki import authority, bundle, csr, files, sign, template, verify
from libs.pki.errors import PkiError
from libs.rpc.errors import CaError
from libs.rpc.kept import NAME, Handling, Kept
from libs.rpc.svid import Functions, Svid
from libs.rpc.tls import Material
from libs.runtime.tasks import background
from tests.support.clock import VirtualClock

DAY = 86_400


@pytest.fixture(name="clock")
def virtual_clock() -> VirtualClock:
    return VirtualClock()


def issued(clock: VirtualClock) -> Material:
    now = clock.now()
    ca = authority.generate("test", now=now)
    key, request = csr.make_with_key()
    planned = template.plan(
        SpiffeId("cluster.local", "shop", "bob"),
        requested=DAY,
        lifetimes=template.Lifetimes(),
        signer=ca.validity,
        now=now,
    )
    *chain, roots = sign.issue(planned, csr.public_key(request), authority=ca, now=now)
    return Material(key, b"".join(chain), roots, *bundle.validity(chain[0]))


def kept(folder: Path, clock: VirtualClock) -> Kept:
    handling = Handling(files.write_private, verify.holding(clock.now), PkiError)
    assert Kept.within(None, handling) is None
    found = Kept.within(folder, handling)
    assert found is not None
    return found


def test_it_is_found_again_and_nobody_else_reads_it(tmp_path: Path, clock: VirtualClock) -> None:
    material = issued(clock)
    kept(tmp_path, clock).keep(material)
    assert kept(tmp_path, clock).load() == material
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_there_may_be_none(tmp_path: Path, clock: VirtualClock) -> None:
    assert kept(tmp_path, clock).load() is None


async def test_one_that_has_expired_is_not_used(tmp_path: Path, clock: VirtualClock) -> None:
    kept(tmp_path, clock).keep(issued(clock))
    await clock.advance(DAY + 1)
    assert kept(tmp_path, clock).load() is None


def test_one_with_another_key_or_other_roots_is_not_used(
    tmp_path: Path, clock: VirtualClock
) -> None:
    mine, other = issued(clock), issued(clock)
    for key, roots in ((other.key, mine.roots), (mine.key, other.roots), (b"", mine.roots)):
        kept(tmp_path, clock).keep(Material(key, mine.chain, roots))
        assert kept(tmp_path, clock).load() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"key": 1}', b"\xff"])
def test_what_nobody_of_us_wrote_is_not_used(
    tmp_path: Path, clock: VirtualClock, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert kept(tmp_path, clock).load() is None


def test_a_folder_that_cannot_be_written_costs_only_that(
    tmp_path: Path, clock: VirtualClock
) -> None:
    (tmp_path / "file").touch()
    kept(tmp_path / "file", clock).keep(issued(clock))


async def test_a_service_starts_with_it_while_its_ca_is_away_and_renews_when_it_is_back(
    tmp_path: Path, clock: VirtualClock
) -> None:
    before, fresh = issued(clock), issued(clock)
    kept(tmp_path, clock).keep(before)
    away = True

    async def sign_it(_: bytes) -> list[str]:
        if away:
            message = "away"
            raise CaError(message)
        return [fresh.chain.decode(), fresh.roots.decode()]

    own = Functions(lambda: (fresh.key, b""), bundle.validity, sign_it, kept=kept(tmp_path, clock))
    svid = Svid(own, clock=clock)
    async with background(svid.run()):
        await svid.ready()
        assert svid.material == before
        await clock.advance(60)
        assert svid.material == before
        away = False
        await clock.advance(60)
        assert svid.material == fresh
    assert kept(tmp_path, clock).load() == fresh
