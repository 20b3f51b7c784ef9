"""What is seen of a module of WebAssembly without compiling it."""

from pathlib import Path

import pytest

from services.agent.modules.errors import ModuleError
from services.agent.modules.structure import outline
from tests.support import wasm_module

GOOD = wasm_module.module()


def module(folder: Path, body: bytes) -> Path:
    """Return a file that holds this."""
    path = folder / "m.wasm"
    path.write_bytes(body)
    return path


def test_modules_for_proxies_are_what_they_say(tmp_path: Path) -> None:
    assert not outline(module(tmp_path, GOOD)).calls_out
    calling = wasm_module.failing_at_start(calls_out=True)
    assert outline(module(tmp_path, calling)).calls_out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no module of WebAssembly"),
        (b"<html>", "no module of WebAssembly"),
        (GOOD[:8] + b"garbage" * 9, "section at byte 8 is wrong"),
        (GOOD[:8], "no module for proxies"),
        (GOOD.replace(b"abi_version", b"abi_versiom"), "no module for proxies"),
        (GOOD[:-1], "is wrong"),
        (GOOD + b"\x00", "is wrong"),
        (GOOD + b"\x00\xff\xff\xff\xff\xff\x01", "is wrong"),
        (GOOD + b"\x00\xff\xff\xff\xff\x0f", "is wrong"),
    ],
)
def test_what_is_none_is_refused(body: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=words):
        outline(module(tmp_path, body))
