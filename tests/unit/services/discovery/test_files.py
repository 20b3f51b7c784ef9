import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.runtime.clock import SystemClock
from services.discovery import files
from services.discovery.errors import SourceLostError
from services.discovery.files import Batch
from tests.support.clock import VirtualClock


def texts(batch: Batch) -> dict[str, str | None]:
    return {Path(file.name).name: file.text for file in batch.files}


async def collect(batches: AsyncIterator[Batch], wanted: dict[str, str | None]) -> Batch:
    """Return the batch with which the latest texts are the wanted ones; more may be on the way."""
    seen: dict[str, str | None] = {}
    while True:
        batch = await anext(batches)
        seen |= texts(batch)
        if seen.items() >= wanted.items():
            return batch


async def test_the_whole_tree_comes_first(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a.yaml", "deep/b.yml", "deep/er/c.json", "d.txt", ".e.yaml", ".hidden/f.yaml"):
        (tmp_path / name).write_text(name)
    async with files.watch(tmp_path, SystemClock()) as source:
        batch = await anext(source.batches())
    assert texts(batch) == {"a.yaml": "a.yaml", "b.yml": "deep/b.yml", "c.json": "deep/er/c.json"}


async def test_an_empty_tree_is_a_batch_too(tmp_path: Path) -> None:
    async with files.watch(tmp_path, SystemClock()) as source:
        assert (await anext(source.batches())).files == ()


async def test_a_tree_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with files.watch(tmp_path / "none", SystemClock()):
            pass


async def test_saves_in_place_by_rename_and_deletions(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        file.write_text("one")
        assert texts(await anext(batches)) == {"a.yaml": "one"}

        other = tmp_path / ".a.yaml.swp"
        other.write_text("two")
        other.rename(file)
        await collect(batches, {"a.yaml": "two"})

        file.unlink()
        await collect(batches, {"a.yaml": None})


async def test_what_a_file_says_does_not_lapse_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = files.GONE_SECONDS
    monkeypatch.setattr(files, "GONE_SECONDS", 5.0)  # the writer may be slow
    file = tmp_path / "a.yaml"
    file.write_text("one")
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        file.unlink()  # as git does
        (tmp_path / "b.yaml").write_text("b")
        assert texts(await anext(batches)) == {"b.yaml": "b"}
        file.write_text("two")
        assert texts(await anext(batches)) == {"a.yaml": "two"}
        assert texts(await anext(batches)) == {"a.yaml": "two"}  # the second look

        monkeypatch.setattr(files, "GONE_SECONDS", soon)
        file.unlink()  # for good
        assert texts(await anext(batches)) == {"a.yaml": None}


async def test_a_file_counts_only_when_its_writer_is_done(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("whole")
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        with file.open("w") as half:
            half.write("half")
            half.flush()
            (tmp_path / "b.yaml").write_text("b")
            assert texts(await anext(batches)) == {"b.yaml": "b"}
            half.write(" and half")
        assert texts(await anext(batches)) == {"a.yaml": "half and half"}


async def test_folders_come_move_and_go(tmp_path: Path) -> None:
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        (tmp_path / "x" / "y").mkdir(parents=True)
        (tmp_path / "x" / "y" / "a.yaml").write_text("1")
        await collect(batches, {"a.yaml": "1"})

        (tmp_path / "x").rename(tmp_path / "z")
        (tmp_path / "z" / "y" / "a.yaml").write_text("2")
        batch = await collect(batches, {"a.yaml": "2"})
        assert [file.name for file in batch.files if file.text] == [str(tmp_path / "z/y/a.yaml")]

        (tmp_path / "z" / "y" / "a.yaml").unlink()
        (tmp_path / "z" / "y").rmdir()
        await collect(batches, {"a.yaml": None})


async def test_a_folder_moved_into_place_comes_whole(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    root.mkdir()
    (outside / "in").mkdir(parents=True)
    (outside / "in" / "a.yaml").write_text("1")
    async with files.watch(root, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        outside.rename(root / "moved")
        assert texts(await anext(batches)) == {"a.yaml": "1"}
        (root / "moved" / "in" / "a.yaml").write_text("2")
        assert texts(await anext(batches)) == {"a.yaml": "2"}


async def test_a_mounted_config_map_changes_by_its_link(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..v{version}").mkdir()
        (tmp_path / f"..v{version}" / "a.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        assert texts(await anext(batches)) == {"a.yaml": "1"}
        (tmp_path / "..tmp").symlink_to("..v2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        await collect(batches, {"a.yaml": "2"})


async def test_what_changes_while_the_reader_is_busy_comes_together(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with files.watch(tmp_path, clock) as source:
        batches = source.batches()
        await anext(batches)
        for name in ("a.yaml", "b.yaml", "c.yaml"):
            source.note(tmp_path / name)
            (tmp_path / name).write_text(name)
            await clock.advance(1)
        batch = await anext(batches)
        assert texts(batch) == {"a.yaml": "a.yaml", "b.yaml": "b.yaml", "c.yaml": "c.yaml"}
        assert batch.observed == clock.now() - 3


async def test_too_many_changes_are_one_look_at_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_CHANGED", 3)
    async with files.watch(tmp_path, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        for index in range(10):
            (tmp_path / f"{index}.yaml").write_text(str(index))
        await collect(batches, {f"{index}.yaml": str(index) for index in range(10)})


async def test_what_is_no_readable_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "nowhere.yaml").symlink_to("gone")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    async with files.watch(tmp_path, SystemClock()) as source:
        batch = await anext(source.batches())
    found = {Path(file.name).name: file for file in batch.files}
    assert found["pipe.yaml"].fault == "not a regular file"
    assert found["nowhere.yaml"].text is None
    assert not found["nowhere.yaml"].fault
    assert found["bytes.yaml"].text == "a: \udcff\udcfe"
    assert "folder.yaml" not in found


async def test_too_large_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    (tmp_path / "a.yaml").write_text("x" * 11)
    async with files.watch(tmp_path, SystemClock()) as source:
        (file,) = (await anext(source.batches())).files
    assert file.fault == "larger than 10 bytes"


async def test_losing_the_tree_is_not_losing_each_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with files.watch(root, SystemClock()) as source:
        batches = source.batches()
        await anext(batches)
        root.rename(tmp_path / "gone")
        with pytest.raises(SourceLostError):
            await anext(batches)
