"""Rotating the authority under a running CA: only steps that cut nobody off are taken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from libs.pki import authority, files, keys, verify
from libs.pki.authority import Authority
from libs.pki.errors import PkiError
from libs.runtime.tasks import background
from services.ca.trust import CHECK_SECONDS, Trust
from tests.support.clock import VirtualClock
from tests.support.pki import NOW, intermediate, root

OLD_ROOT, NEW_ROOT = root("old"), root("new")
OLD, NEW = intermediate(OLD_ROOT), intermediate(NEW_ROOT)


def trusting(signer: Authority, *roots: Authority) -> Authority:
    return Authority(
        key=signer.key,
        certificate=signer.certificate,
        intermediates=signer.intermediates,
        roots=[one.certificate for one in roots],
    )


class Mounted:
    """The files of a CA as an operator changes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock(start=NOW)
        self.keys_file = folder / "keys.pem"
        self.root_file = folder / "out" / "root.pem"
        self.token_key = keys.generate()
        self.keys_file.write_bytes(keys.public_pem(self.token_key))
        self.trust = Trust(
            folder / "ca", self.keys_file, root_file=self.root_file, clock=self.clock
        )

    def write(self, made: Authority) -> None:
        authority.save(made, self.folder / "ca")

    async def noticed(self) -> None:
        await self.clock.advance(CHECK_SECONDS + 1)


@pytest.fixture(name="mounted")
def mounted_files(tmp_path: Path) -> Mounted:
    mounted = Mounted(tmp_path)
    mounted.write(OLD)
    mounted.trust.load("cluster.local")
    return mounted


async def test_a_root_is_rotated_in_three_steps(mounted: Mounted) -> None:
    told: list[str] = []
    mounted.trust.on_authority(lambda: told.append("changed"))
    steps = [
        trusting(OLD, OLD_ROOT, NEW_ROOT),
        trusting(NEW, OLD_ROOT, NEW_ROOT),
    ]
    async with background(mounted.trust.follow()):
        for step in steps:
            mounted.write(step)
            await mounted.noticed()
            assert mounted.trust.authority.certificate == step.certificate
            assert mounted.trust.authority.roots == step.roots
            assert mounted.root_file.read_bytes() == step.root_pem
            for leaf_of in (OLD, NEW):
                verify.chain(leaf_of.chain, step.roots, now=NOW)
        mounted.write(NEW)
        await mounted.noticed()
        assert mounted.trust.authority.roots == NEW.roots
    assert told == ["changed"] * 3


@pytest.mark.parametrize(
    "step",
    [NEW, trusting(NEW, OLD_ROOT, NEW_ROOT)],
    ids=["another root at once", "a signer that nobody trusts yet"],
)
async def test_a_step_that_would_cut_somebody_off_is_refused(
    step: Authority, mounted: Mounted
) -> None:
    async with background(mounted.trust.follow()):
        mounted.write(step)
        await mounted.noticed()
        assert mounted.trust.authority.certificate == OLD.certificate
        assert mounted.root_file.read_bytes() == OLD.root_pem
        again = intermediate(OLD_ROOT, organization="again")
        mounted.write(again)
        await mounted.noticed()
        assert mounted.trust.authority.certificate == again.certificate


def garbage(mounted: Mounted) -> None:
    files.write_public(mounted.folder / "ca" / "ca-cert.pem", b"garbage")


def missing(mounted: Mounted) -> None:
    (mounted.folder / "ca" / "ca-key.pem").unlink()


def open_key(mounted: Mounted) -> None:
    files.write_private(mounted.folder / "ca" / "ca-key.pem", keys.to_pem(OLD.key))
    (mounted.folder / "ca" / "ca-key.pem").chmod(0o666)


@pytest.mark.parametrize("change", [garbage, missing, open_key])
async def test_broken_files_change_nothing_until_they_are_mended(
    change: Callable[[Mounted], None], mounted: Mounted
) -> None:
    async with background(mounted.trust.follow()):
        change(mounted)
        await mounted.noticed()
        assert mounted.trust.authority.certificate == OLD.certificate
        mended = intermediate(OLD_ROOT, organization="mended")
        mounted.write(mended)
        await mounted.noticed()
        assert mounted.trust.authority.certificate == mended.certificate


async def test_token_keys_are_followed(mounted: Mounted) -> None:
    first = mounted.trust.keys
    async with background(mounted.trust.follow()):
        mounted.keys_file.write_bytes(b"broken")
        await mounted.noticed()
        assert mounted.trust.keys == first
        mounted.keys_file.write_bytes(keys.public_pem(keys.generate()))
        await mounted.noticed()
        assert mounted.trust.keys.keys() != first.keys()


def test_what_cannot_be_used_at_the_start_is_an_error(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path)
    mounted.keys_file.write_bytes(b"")
    with pytest.raises(PkiError):
        mounted.trust.load("cluster.local")
