"""How much memory is free."""

from pathlib import Path

from services.agent.modules.room import room

MIB = 2**20


def files(folder: Path, **texts: int | str) -> Path:
    """Return a folder with these files; `__` in a name is a dot."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")
    return folder


def test_the_narrowest_bound_counts(tmp_path: Path) -> None:
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal: 9000 kB\nMemAvailable: 4096 kB\n")
    nothing = tmp_path / "nothing"
    assert room(machine, nothing, nothing) == 4 * MIB
    stat = f"anon 7\ninactive_file {MIB}\n"
    new = files(tmp_path / "new", memory__max=3 * MIB, memory__current=2 * MIB, memory__stat=stat)
    assert room(machine, new, nothing) == 2 * MIB
    free = files(tmp_path / "free", memory__max="max", memory__current=2 * MIB)
    assert room(machine, free, nothing) == 4 * MIB
    limits = {"memory__limit_in_bytes": 5 * MIB, "memory__usage_in_bytes": 4 * MIB}
    assert room(machine, nothing, files(tmp_path / "old", **limits)) == MIB


def test_nothing_is_free_where_nobody_says_so(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert room(nothing, nothing, nothing) == 0
