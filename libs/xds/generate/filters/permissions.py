"""Permissions: conditions on what is called, as Envoy's RBAC tests them."""

from collections.abc import Callable, Sequence

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.rbac.v3.rbac_pb2 import Permission, SourcedMetadata
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import (
    UriTemplateMatchConfig,
)
from envoy.type.matcher.v3.path_pb2 import PathMatcher

from libs.xds.generate import typed
from libs.xds.generate.filters import matchers

Test = Callable[[str], Permission | None]
"""Makes the test of one written value; None if the value means nothing."""


def anything() -> Permission:
    """Return a test that every call passes."""
    return Permission(any=True)


def all_of(tests: Sequence[Permission]) -> Permission:
    """Return a test passed by calls that pass all `tests`."""
    return Permission(and_rules=Permission.Set(rules=tests))


def one_of(tests: Sequence[Permission]) -> Permission:
    """Return a test passed by calls that pass one of `tests`."""
    return Permission(or_rules=Permission.Set(rules=tests))


def negated(test: Permission) -> Permission:
    """Return a test passed by all other calls."""
    return Permission(not_rule=test)


def host(written: str) -> Permission:
    """Test the authority of the request; host names have no case."""
    return Permission(header=matchers.header(":authority", written, ignore_case=True))


def method(written: str) -> Permission:
    """Test the method of the request."""
    return Permission(header=matchers.header(":method", written))


def path(written: str) -> Permission:
    """Test the path without its query; `{*}` stands for one segment and `{**}` for the rest."""
    if "{*}" not in written and "{**}" not in written:
        return Permission(url_path=PathMatcher(path=matchers.text(written)))
    pattern = written.replace("{*}", "*").replace("{**}", "**")
    template = typed.pack(UriTemplateMatchConfig(path_template=pattern))
    return Permission(uri_template=TypedExtensionConfig(name="uri-template", typed_config=template))


def port(written: str) -> Permission | None:
    """Test the port that is called: the workload's own."""
    if not (written.isascii() and written.isdecimal()) or int(written) > 65535:
        return None
    return Permission(destination_port=int(written))


def address(written: str) -> Permission | None:
    """Test the address that is called."""
    block = matchers.cidr(written)
    return Permission(destination_ip=block) if block else None


def server_name(written: str) -> Permission:
    """Test the server name that the caller asked for in TLS."""
    return Permission(requested_server_name=matchers.text(written))


def filter_metadata(namespace: str, key: str, written: str) -> Permission:
    """Test what another filter left in dynamic metadata: a text, or `[x]` for a list with x."""
    if written.startswith("[") and written.endswith("]"):
        wanted = matchers.listed(matchers.value(matchers.text(written[1:-1])))
    else:
        wanted = matchers.value(matchers.text(written))
    found = matchers.metadata(namespace, [key], wanted)
    return Permission(sourced_metadata=SourcedMetadata(metadata_matcher=found))
