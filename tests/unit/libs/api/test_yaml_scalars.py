import pytest

from libs.api import yaml_scalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("nULL", "nULL"),
        ("on", True),
        ("y", True),
        ("Off", False),
        ("N", False),
        ("oN", "oN"),
        ("true", True),
        ("tRUE", "tRUE"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("017", 15),
        ("0o17", 15),
        ("-017", -15),
        ("08", 8.0),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("_1", "_1"),
        ("18446744073709551616", 18446744073709551616),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        ("1.5s", "1.5s"),
        ("100ms", "100ms"),
        ("22:22", "22:22"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3.4", "1.2.3.4"),
        ("-", "-"),
        ("+", "+"),
        (".", "."),
        ("0x", "0x"),
        ("<<", "<<"),
        ("reviews", "reviews"),
    ],
)
def test_plain_scalars_are_read_as_kubectl_reads_them(text: str, value: object) -> None:
    found = yaml_scalars.resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.Inf", "9" * 65])
def test_numbers_that_json_cannot_carry_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        yaml_scalars.resolve(text)


@pytest.mark.parametrize(
    ("text", "tag", "value"),
    [
        ("1", "tag:yaml.org,2002:str", "1"),
        ("on", "!", "on"),
        ("1", "tag:yaml.org,2002:int", 1),
        ("1", "tag:yaml.org,2002:float", 1.0),
        ("true", "tag:yaml.org,2002:bool", True),
        ("~", "tag:yaml.org,2002:null", None),
    ],
)
def test_json_types_may_be_tagged(text: str, tag: str, value: object) -> None:
    assert yaml_scalars.tagged(text, tag) == value


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("x", "tag:yaml.org,2002:int"),
        ("true", "tag:yaml.org,2002:int"),
        ("eA==", "tag:yaml.org,2002:binary"),
        ("os.system", "tag:yaml.org,2002:python/object/apply:os.system"),
        ("x", "!mine"),
    ],
)
def test_other_tags_are_refused(text: str, tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        yaml_scalars.tagged(text, tag)


@pytest.mark.parametrize(
    ("value", "key"),
    [("a", "a"), (8080, "8080"), (True, "true"), (False, "false"), (1.1, "1.1")],
)
def test_keys_become_texts(value: yaml_scalars.Scalar, key: str) -> None:
    assert yaml_scalars.key(value) == key


def test_null_is_no_key() -> None:
    with pytest.raises(ValueError, match="null"):
        yaml_scalars.key(None)
