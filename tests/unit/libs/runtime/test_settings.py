from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from libs.runtime.secret import Secret
from libs.runtime.settings import SettingsError, describe, dump, load, variable


class Settings(Struct, frozen=True, kw_only=True):
    folder: Path
    """Where the
    files are."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    """Port to listen on."""
    names: tuple[str, ...] = ()
    ratio: float = 0.5
    strict: bool = False
    password: Secret = Secret("")
    pod_name: Annotated[str, variable("POD_NAME")] = ""
    meta: Annotated[dict[str, str], variable("ISTIO_META_*")] = {}

    def __post_init__(self) -> None:
        if self.ratio > 1:
            message = "SEINE_RATIO is above 1"
            raise ValueError(message)


FOLDER = {"SEINE_FOLDER": "/etc/seine"}


def test_every_type_is_read_from_its_variable() -> None:
    settings = load(
        Settings,
        {
            "SEINE_FOLDER": "/etc/seine",
            "SEINE_PORT": "9",
            "SEINE_NAMES": "a, b,,c",
            "SEINE_RATIO": "0.25",
            "SEINE_STRICT": "true",
            "SEINE_PASSWORD": "hush",
            "POD_NAME": "web-1",
            "ISTIO_META_NETWORK": "n1",
            "PATH": "/bin",
        },
    )
    assert settings.folder == Path("/etc/seine")
    assert (settings.port, settings.names, settings.ratio) == (9, ("a", "b", "c"), 0.25)
    assert settings.strict
    assert settings.password.reveal() == "hush"
    assert (settings.pod_name, settings.meta) == ("web-1", {"NETWORK": "n1"})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ["SEINE_FOLDER", "required"]),
        ({**FOLDER, "SEINE_PROT": "1"}, ["SEINE_PROT", "did you mean SEINE_PORT?"]),
        ({**FOLDER, "SEINE_ZZZZZZZZZ": "1"}, ["SEINE_ZZZZZZZZZ", "not a setting"]),
        ({**FOLDER, "SEINE_PORT": "many"}, ["SEINE_PORT", "int"]),
        ({**FOLDER, "SEINE_PORT": "0"}, ["SEINE_PORT", ">= 1"]),
        ({**FOLDER, "SEINE_STRICT": "perhaps"}, ["SEINE_STRICT", "bool"]),
        ({**FOLDER, "SEINE_RATIO": "2"}, ["SEINE_RATIO is above 1"]),
    ],
)
def test_a_mistake_is_refused_with_the_variables_name(
    environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Settings, environ)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEINE_DISCOVERY_SERVICE_HOST", "10.0.0.1"),
        ("SEINE_DISCOVERY_SERVICE_PORT", "443"),
        ("SEINE_DISCOVERY_SERVICE_PORT_GRPC", "443"),
        ("SEINE_DISCOVERY_PORT", "tcp://10.0.0.1:443"),
        ("SEINE_DISCOVERY_PORT_443_TCP", "tcp://10.0.0.1:443"),
        ("SEINE_DISCOVERY_PORT_443_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_kubernetes_service_links_are_nobodys_settings(name: str, value: str) -> None:
    assert load(Settings, {**FOLDER, name: value}).port == 8080


def test_a_secret_is_shown_nowhere() -> None:
    settings = load(Settings, {**FOLDER, "SEINE_PASSWORD": "hush"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(dump(settings))


def test_the_reference_page_has_each_field_with_its_docstring() -> None:
    rows = {row.variable: row for row in describe(Settings)}
    assert list(rows)[:2] == ["SEINE_FOLDER", "SEINE_PORT"]
    assert rows["SEINE_FOLDER"].doc == "Where the files are."
    assert rows["SEINE_FOLDER"].required
    assert (rows["SEINE_PORT"].doc, rows["SEINE_PORT"].default) == ("Port to listen on.", "8080")
    assert rows["SEINE_NAMES"].doc == ""
    assert rows["POD_NAME"].type == "str"


def test_fields_and_docs_of_a_base_are_kept() -> None:
    class Longer(Settings, frozen=True, kw_only=True):
        more: int = 1
        """More of it."""

    docs = {row.variable: row.doc for row in describe(Longer)}
    assert docs["SEINE_PORT"] == "Port to listen on."
    assert docs["SEINE_MORE"] == "More of it."
