"""Matchers: the forms in which authorization policies write texts, as Envoy matchers.

`x` is exact, `x*` a prefix, `*x` a suffix, `*` any text but the empty one. What a user wrote enters
a regular expression only through `escape`; wherever Envoy has a matcher without one, that is used.
"""

from ipaddress import ip_interface

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ListMatcher, OrMatcher, ValueMatcher
from google.protobuf.wrappers_pb2 import UInt32Value

_SPECIAL = frozenset("\\.+*?()|[]{}^$")


def escape(literal: str) -> str:
    """Return an RE2 expression that matches exactly `literal`."""
    return "".join(
        f"\\{character}" if character in _SPECIAL else character for character in literal
    )


def regex(expression: str) -> StringMatcher:
    """Return a matcher of whole texts by an RE2 expression."""
    return StringMatcher(safe_regex=RegexMatcher(regex=expression))


def text(value: str, *, ignore_case: bool = False) -> StringMatcher:
    """Return the matcher that `value` writes."""
    if value == "*":
        return regex(".+")
    if value.startswith("*"):
        return StringMatcher(suffix=value[1:], ignore_case=ignore_case)
    if value.endswith("*"):
        return StringMatcher(prefix=value[:-1], ignore_case=ignore_case)
    return StringMatcher(exact=value, ignore_case=ignore_case)


def header(name: str, value: str, *, ignore_case: bool = False) -> HeaderMatcher:
    """Return the matcher of the header `name` that `value` writes."""
    if value == "*":
        return HeaderMatcher(name=name, present_match=True)
    return HeaderMatcher(name=name, string_match=text(value, ignore_case=ignore_case))


def cidr(value: str) -> CidrRange | None:
    """Return an address or a block of addresses, or None if `value` is neither."""
    try:
        block = ip_interface(value)
    except ValueError:
        return None
    if "%" in value:  # a scope means something on one machine only, and Envoy refuses it
        return None
    length = UInt32Value(value=block.network.prefixlen)
    return CidrRange(address_prefix=str(block.ip), prefix_len=length)


def any_value(matchers: list[ValueMatcher]) -> ValueMatcher:
    """Return a matcher of values that satisfy one of `matchers`."""
    if len(matchers) == 1:
        return matchers[0]
    return ValueMatcher(or_match=OrMatcher(value_matchers=matchers))


def value(written: StringMatcher) -> ValueMatcher:
    """Return a matcher of values that are such a text."""
    return ValueMatcher(string_match=written)


def listed(wanted: ValueMatcher) -> ValueMatcher:
    """Return a matcher of lists that hold such a value."""
    return ValueMatcher(list_match=ListMatcher(one_of=wanted))


def metadata(namespace: str, path: list[str], wanted: ValueMatcher) -> MetadataMatcher:
    """Return a matcher of dynamic metadata at `path` in a filter's namespace."""
    segments = [MetadataMatcher.PathSegment(key=key) for key in path]
    return MetadataMatcher(filter=namespace, path=segments, value=wanted)
