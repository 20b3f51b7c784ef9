"""Challenge: what a registry wants to see before it answers, and how that is had.

A registry refuses with 401 and says in `WWW-Authenticate` what it wants: `Basic` wants user and
password; `Bearer` names a server that sells tokens for them, or gives them away. The registry wrote
that server's URL, so it is judged as a user's is, and asked over https unless the registry itself
is one that may be asked in clear text. It is told only who one is to this registry.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from services.agent.modules.accounts import Account
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError

MAX_ANSWER = 64 * 1024

_WORDS = re.compile(
    r"""(?P<key>[A-Za-z_]+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s,"]+))|(?P<scheme>[A-Za-z]+)"""
)
_CLIENT = "seine"


class _Sold(Struct, frozen=True):
    token: str = ""
    access_token: str = ""


def challenges(header: str) -> Mapping[str, Mapping[str, str]]:
    """Return what `WWW-Authenticate` wants: the parameters of each scheme, all in lower case."""
    found: dict[str, dict[str, str]] = {}
    scheme = ""
    for word in _WORDS.finditer(header):
        if word["scheme"]:
            scheme = word["scheme"].lower()
            found.setdefault(scheme, {})
        elif scheme:
            value = word["bare"] if word["quoted"] is None else word["quoted"]
            found[scheme].setdefault(word["key"].lower(), value)
    return found


async def authorization(
    header: str, account: Account, door: Door, *, scope: str, clear: bool
) -> str:
    """Return the `Authorization` that answers a challenge; `clear`: it came in clear text.

    Raises:
        ModuleError: there is none; the message says why.
        services.agent.http.client.HttpError: who sells tokens does not answer.
        libs.runtime.reach.UnreachableError: who sells tokens is not asked.

    """
    wanted = challenges(header)
    if account.registry_token:
        return f"Bearer {account.registry_token}"
    if "bearer" in wanted:
        if not clear and not wanted["bearer"].get("realm", "").startswith("https://"):
            message = "the registry's tokens are not sold over https"
            raise ModuleError(message)
        return f"Bearer {await _token(wanted['bearer'], account, door, scope=scope)}"
    if "basic" in wanted and account.basic:
        return f"Basic {account.basic}"
    message = "the registry asks who is there, and there is no image pull Secret that it knows"
    raise ModuleError(message)


async def _token(wanted: Mapping[str, str], account: Account, door: Door, *, scope: str) -> str:
    realm = wanted.get("realm", "")
    fields = {"service": wanted.get("service", ""), "scope": wanted.get("scope", "") or scope}
    asked = {name: value for name, value in fields.items() if value}
    if account.identity_token:
        grant = {"grant_type": "refresh_token", "client_id": _CLIENT}
        bought = {**asked, **grant, "refresh_token": account.identity_token}
        form = (("Content-Type", "application/x-www-form-urlencoded"),)
        async with door.open(realm, form, form=urlencode(bought).encode()) as response:
            return _sold(response.status, await response.whole(MAX_ANSWER))
    proof = (("Authorization", f"Basic {account.basic}"),) if account.basic else ()
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
    async with door.open(url, proof) as response:
        return _sold(response.status, await response.whole(MAX_ANSWER))


def _sold(status: int, body: bytes) -> str:
    if status != 200:
        message = f"who sells the registry's tokens answered {status}"
        raise ModuleError(message)
    try:
        found = msgspec.json.decode(body, type=_Sold)
    except (msgspec.DecodeError, RecursionError):
        found = _Sold()
    token = found.token or found.access_token
    if not token:
        message = "who sells the registry's tokens answered without one"
        raise ModuleError(message)
    return token
