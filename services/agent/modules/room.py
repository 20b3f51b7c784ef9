"""Room: how much memory may still be taken before somebody is killed for it."""

from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_OLD_GROUP = Path("/sys/fs/cgroup/memory")


def room(machine: Path = _MACHINE, group: Path = _GROUP, old_group: Path = _OLD_GROUP) -> int:
    """Return the bytes that are free for this container and on its machine.

    What the kernel keeps of files and can drop counts as free. A group without a limit has none of
    its own.
    """
    left = [_of_machine(machine)]
    for limit, used, place in (
        ("memory.max", "memory.current", group),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", old_group),
    ):
        bound, taken = _read(place / limit), _read(place / used)
        if bound.isdigit() and taken.isdigit():
            left.append(int(bound) - int(taken) + _droppable(place / "memory.stat"))
    return min(left)


def _of_machine(path: Path) -> int:
    for line in _read(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _droppable(path: Path) -> int:
    fields = (line.split() for line in _read(path).splitlines())
    return sum(int(it[1]) for it in fields if it[0] == "inactive_file")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # another version of groups, or none
