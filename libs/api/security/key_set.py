"""KeySet: the public keys of an issuer of tokens, as discovery has fetched them.

No manifest can write one: it is not in the registry. It is named by what is fetched: `keys:<URL>`
of a key set, or `issuer:<URL>` of an issuer whose OpenID configuration says where the keys are.
"""

from libs.api.resource import Resource
from libs.model.ids import Ref, ref

KEYS = "keys:"
ISSUER = "issuer:"


class KeySet(Resource, frozen=True):
    """The last good keys, empty if there are none (any more), and what went wrong since."""

    keys: str = ""
    fault: str = ""


def source(jwks_uri: str, issuer: str) -> str:
    """Return the name of the key set that a rule without keys of its own stands on."""
    return f"{KEYS}{jwks_uri}" if jwks_uri else f"{ISSUER}{issuer}"


def key_set_ref(name: str) -> Ref:
    """Return the reference of a key set."""
    return ref("KeySet", "", name)
