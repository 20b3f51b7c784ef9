"""What the CA refuses on its own account; the rest is refused by `libs.pki` and `libs.rpc`.

Each maps to one status code, in `services.ca.refusals`.
"""


class LimitedError(Exception):
    """Come back later: `limit` is peer, identity or queue."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"over the limit of the {limit}")
        self.limit = limit


class MalformedError(Exception):
    """Send an IstioCertificateRequest."""


class NotAllowedError(Exception):
    """Ask for nothing but your own identity, from this signer."""


class UnconfirmedError(Exception):
    """Come back later: this replica does not know whether what it holds still signs."""


class UnsyncedError(Exception):
    """Come back later: who may ask for whom is not known yet."""
