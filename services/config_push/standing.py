"""Standing: how far the proxies of this replica are, whatever change it was that they were sent."""

from collections.abc import Iterable

from libs.protos.receipts.v1.receipts_pb2 import Standing
from services.config_push.connection import Connection


def standing(connections: Iterable[Connection], taken_over: float) -> Standing:
    """Return the standing; a proxy counts once, by its Envoy's stream."""
    proxies = [one for one in connections if not one.of_agent]
    rejecting = sum(map(_rejects, proxies))
    return Standing(
        connected=len(proxies),
        synced=sum(_is_synced(one) and not _rejects(one) for one in proxies),
        rejecting=rejecting,
        taken_over=taken_over,
    )


def _is_synced(connection: Connection) -> bool:
    """Tell whether everything that it was offered was sent, and all that was sent answered."""
    if connection.offered is None or connection.behind or connection.session.held:
        return False
    return not any(watch.ledger.waiting for watch in connection.session.watches.values())


def _rejects(connection: Connection) -> bool:
    return any(watch.ledger.error for watch in connection.session.watches.values())
