"""Settings: one frozen Struct for each service, read once from the environment.

A field `push_budget` is read from `SEINE_PUSH_BUDGET`. A string literal after the field is its
documentation, from which the reference page is made. An unknown `SEINE_*` variable is an error,
because a setting that is spelled wrong would otherwise be ignored in silence.
Which values are sensible together is not decided here: a Struct's `__post_init__` raises for that.
"""

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from libs.runtime.secret import Secret

PREFIX = "SEINE_"
S = TypeVar("S", bound=Struct)

# Kubernetes gives every container addresses of the services of its namespace, such as
# SEINE_DISCOVERY_SERVICE_HOST: those are nobody's settings.
_SERVICE_LINK = re.compile(
    r"SEINE_\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)


class SettingsError(Exception):
    """The environment does not make valid settings; the message names the variable."""


class Description(Struct, frozen=True):
    """One setting as its reference page shows it."""

    variable: str
    type: str
    default: str  # empty if the setting is required
    required: bool
    doc: str


class _Variable(Struct, frozen=True):
    name: str


def variable(name: str) -> Any:  # noqa: ANN401  # goes into Annotated
    """Read a field from `name` instead of `SEINE_<FIELD>`: Istio's and Kubernetes' variables.

    `Annotated[dict[str, str], variable("ISTIO_META_*")]` collects all variables with that prefix;
    its keys are what follows the prefix.
    """
    return msgspec.Meta(extra={"variable": _Variable(name)})


def load(cls: type[S], environ: Mapping[str, str]) -> S:
    """Return the settings that `environ` gives.

    Raises:
        SettingsError: a variable is unknown, missing or has a bad value.

    """
    fields = {_variable_of(field): field for field in msgspec.structs.fields(cls)}
    _refuse_unknown(fields.keys(), environ)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        raw = _raw_value(name, environ)
        if raw is not None:
            values[field.name] = _convert(name, raw, field.type)
        elif field.required:
            message = f"{name} is required"
            raise SettingsError(message)
    try:
        return cls(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def describe(cls: type[Struct]) -> list[Description]:
    """Return what there is to set, in the order in which the fields are written."""
    docs = _field_docs(cls)
    return [
        Description(
            variable=_variable_of(field),
            type=_type_name(field.type),
            default="" if field.required else _default(field),
            required=field.required,
            doc=docs.get(field.name, ""),
        )
        for field in msgspec.structs.fields(cls)
    ]


def dump(settings: Struct) -> dict[str, Any]:
    """Return variable → value of loaded settings, secrets redacted, for `--print-settings`."""
    return {
        _variable_of(field): _printable(getattr(settings, field.name))
        for field in msgspec.structs.fields(settings)
    }


def _variable_of(field: FieldInfo) -> str:
    for part in get_args(field.type) if get_origin(field.type) is Annotated else ():
        extra = getattr(part, "extra", None) or {}
        if isinstance(named := extra.get("variable"), _Variable):
            return named.name
    return PREFIX + field.name.upper()


def _refuse_unknown(known: Any, environ: Mapping[str, str]) -> None:  # noqa: ANN401
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or _is_service_link(name, environ[name]):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        message = f"{name} is not a setting of this service{hint}"
        raise SettingsError(message)


def _is_service_link(name: str, value: str) -> bool:
    if name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://")):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def _raw_value(name: str, environ: Mapping[str, str]) -> str | dict[str, str] | None:
    if not name.endswith("*"):
        return environ.get(name)
    prefix = name[:-1]
    return {key[len(prefix) :]: text for key, text in environ.items() if key.startswith(prefix)}


def _convert(name: str, raw: str | dict[str, str], wanted: Any) -> Any:  # noqa: ANN401
    value: Any = raw
    if isinstance(raw, str) and get_origin(_bare(wanted)) in {tuple, list, frozenset, set}:
        value = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        return msgspec.convert(value, wanted, strict=False, dec_hook=_decode_own_type)
    except (msgspec.ValidationError, ValueError) as error:
        message = f"{name}: {error}"
        raise SettingsError(message) from error


def _decode_own_type(wanted: type, value: Any) -> Any:  # noqa: ANN401
    return wanted(value)  # Secret, Path and other types that take their text


def _bare(wanted: Any) -> Any:  # noqa: ANN401
    return get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted


def _type_name(wanted: Any) -> str:  # noqa: ANN401
    bare = _bare(wanted)
    return bare.__name__ if isinstance(bare, type) and not get_args(bare) else str(bare)


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is msgspec.NODEFAULT:
        default = field.default_factory()
    return str(_printable(default))


def _printable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Secret):
        return str(value) if value else ""
    return value if isinstance(value, str | int | float | bool | None) else _structure(value)


def _structure(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {str(key): _printable(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_printable(item) for item in value]
    return str(value)


def _field_docs(cls: type[Struct]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if issubclass(owner, Struct) and owner is not Struct:
            docs.update(_docs_in_source(_source(owner)))
    return docs


def _source(cls: type[Struct]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(cls))
    except OSError:  # an image may come without sources
        return "pass"


def _docs_in_source(source: str) -> dict[str, str]:
    body = ast.parse(source).body[0]
    docs: dict[str, str] = {}
    name = ""
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs[name] = " ".join(str(node.value.value).split())
            name = ""
        else:
            name = ""
    return docs
