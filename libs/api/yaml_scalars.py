"""Scalars of YAML as `kubectl` and the API server read them.

Both go through sigs.k8s.io/yaml, which resolves plain scalars by YAML 1.1 as go-yaml v2 knows it:
`yes`, `on` and `y` are true, `017` is octal, underscores are dropped from numbers, and times stay
texts. Only plain scalars are resolved: what is quoted is a text, so that "on" is safe in quotes.
"""

import re

Scalar = str | int | float | bool | None

MAX_DIGITS = 64
_TAG = "tag:yaml.org,2002:"

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_FINITE = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-.0123456789")
_PREFIXED = re.compile(r"[-+]?0[xXoObB]")


def resolve(text: str) -> Scalar:
    """Return the value of a plain scalar.

    Raises:
        ValueError: a number that JSON cannot carry.

    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    return _number(text)


def tagged(text: str, tag: str) -> Scalar:
    """Return the value of a scalar with an explicit tag.

    Raises:
        ValueError: the tag is not one of JSON's types, or the text is not of that type.

    """
    if tag in {"!", f"{_TAG}str"}:
        return text
    value = resolve(text)
    if tag == f"{_TAG}float" and type(value) is int:
        return float(value)
    if not isinstance(value, _TYPES.get(tag, ())) or (tag == f"{_TAG}int" and type(value) is bool):
        raise ValueError(f"tag {tag[:100]!r} does not fit or is not accepted")
    return value


def key(value: Scalar) -> str:
    """Return the text under which a scalar stands as the key of a JSON object.

    Raises:
        ValueError: null, which cannot be a key.

    """
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("a key must not be null; quote it if a text is meant")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


_TYPES: dict[str, tuple[type, ...]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float,),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
    f"{_TAG}timestamp": (str,),
}


def _number(text: str) -> Scalar:
    plain = text.replace("_", "") if text[0] != "." else text
    if _INTEGER.fullmatch(plain):
        return _integer(plain)
    if _FLOAT.fullmatch(plain):
        value = float(plain)
        # Out of range is no number for go-yaml, and so a text.
        return value if abs(value) != float("inf") else text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON can carry")
    return text


def _integer(plain: str) -> int:
    if len(plain) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    if _PREFIXED.match(plain):
        return int(plain, 0)
    octal = plain.lstrip("+-").startswith("0")
    return int(plain, 8 if octal else 10)
