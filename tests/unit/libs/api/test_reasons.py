import re
from pathlib import Path

from libs.api import reasons


def test_every_reason_is_a_name_with_a_sentence() -> None:
    described = reasons.describe()
    assert list(described) == sorted(described)
    for name, sentence in described.items():
        assert re.fullmatch(r"([A-Z][a-z]+)+", name), name
        assert sentence.endswith("."), name


def test_every_constant_is_described_once() -> None:
    constants = [value for name, value in vars(reasons).items() if name.isupper()]
    named = [value for value in constants if isinstance(value, str)]
    assert sorted(named) == sorted(reasons.describe())


def test_every_reason_is_used() -> None:
    root = Path(reasons.__file__).parents[2]
    files = [*root.glob("libs/**/*.py"), *root.glob("services/**/*.py")]
    used = {name for file in files for name in re.findall(r"reasons\.([A-Z_]+)", file.read_text())}
    assert {name for name in vars(reasons) if name.isupper()} - used == {"_SENTENCES", "_CODES"}
