"""Accounts: who one is to registries, as a Secret of `kubernetes.io/dockerconfigjson` holds it."""

import binascii
from base64 import b64decode, b64encode

import msgspec
from msgspec import Struct

from services.agent.modules.errors import ModuleError

MAX_BYTES = 1024 * 1024  # what a Secret may hold


class Account(Struct, frozen=True):
    """What one registry is told; never printed."""

    basic: str = ""  # base64 of `<user>:<password>`
    identity_token: str = ""  # buys tokens
    registry_token: str = ""  # is one

    def __repr__(self) -> str:
        return "Account(…)"


class _Entry(Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")


class _Config(Struct, frozen=True):
    auths: dict[str, _Entry] = {}


NOBODY = Account()


def account(document: bytes, registry: str) -> Account:
    """Return who one is to `registry`; nobody, if the document does not name it.

    Raises:
        ModuleError: it is no such document.

    """
    try:
        config = msgspec.json.decode(document[:MAX_BYTES], type=_Config)
        found = {_host(written): entry for written, entry in config.auths.items()}
        return _account(found[registry]) if registry in found else NOBODY
    except (ValueError, RecursionError):
        message = "the image pull Secret does not hold Docker's configuration"
        raise ModuleError(message) from None  # the cause could repeat what it holds


def _host(written: str) -> str:
    """Return the registry that a key names: `<host>`, or a URL of it."""
    return written.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _account(entry: _Entry) -> Account:
    basic = entry.auth
    if entry.username:
        basic = b64encode(f"{entry.username}:{entry.password}".encode()).decode()
    elif basic:
        try:
            basic = b64encode(b64decode(basic, validate=True)).decode()
        except binascii.Error as error:
            raise ValueError from error
    return Account(basic, entry.identity_token, entry.registry_token)
