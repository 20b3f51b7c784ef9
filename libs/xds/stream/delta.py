"""DeltaSession: the incremental protocol, as Envoy speaks it.

- The first request of a type is always answered, even with a nonce of an earlier stream; a client
  that reports versions gets only what differs, and is told what is gone.
- A request that subscribes is answered with those names alone, one that unsubscribes is not.
- A refused version is not sent again before it changes. Where Envoy stops at the first bad
  resource of a response (EDS, RDS), the innocent ones are sent once more without it.
- Types go out in the order that breaks nothing, see `session`.
- A cluster that Envoy gets, again or changed, warms until its endpoints come, so these follow.
"""

from envoy.service.discovery.v3 import discovery_pb2

from libs.xds.stream.difference import Difference
from libs.xds.stream.events import Nacked
from libs.xds.stream.limits import check_names, check_type
from libs.xds.stream.responses import Response
from libs.xds.stream.session import Session, Step
from libs.xds.stream.subscription import ANY, first
from libs.xds.stream.watch import Watch
from libs.xds.types import CLUSTER, ENDPOINT, ROUTE, ResourceSet, resource_set, unknown

_STOP_AT_FIRST_ERROR = frozenset({ENDPOINT, ROUTE})


class DeltaSession(Session):
    """One stream of DeltaAggregatedResources."""

    def on_request(self, request: discovery_pb2.DeltaDiscoveryRequest) -> list[bytes]:
        """Return the responses to one request, in order.

        Raises:
            RequestError: the client asks for what it may not; the stream has to end.

        """
        check_type(self._limits, request.type_url, self._watches)
        watch = self._watches.get(request.type_url)
        if watch is None:
            return self._send_first(self._open(request))
        settled = self._settle(watch, request)
        return settled + self._subscribe(watch, request) + self._resume()

    def _open(self, request: discovery_pb2.DeltaDiscoveryRequest) -> Watch:
        names = request.resource_names_subscribe
        check_names(self._limits, names, request.type_url)
        check_names(self._limits, request.initial_resource_versions, request.type_url)
        wanted = self._responses.subscription(first(request.type_url, names))
        watch = self._watches[request.type_url] = Watch(request.type_url, wanted)
        watch.reported = dict(request.initial_resource_versions)
        return watch

    def _first(self, watch: Watch, new: ResourceSet) -> Difference:
        # Clusters that warm since before a reconnect wait for endpoints that the client reports to
        # have: endpoints always come whole.
        reported = {} if watch.type_url == ENDPOINT else watch.reported
        return self._responses.since(reported, new, watch.wanted)

    def _first_at_once(self, watch: Watch) -> ResourceSet:
        new = super()._first_at_once(watch)
        if watch.type_url != CLUSTER or watch.answered or not watch.reported or not self._gated:
            return new
        # Until its routes are compared, too, the client may name whatever it has, and what left
        # while it was away.
        self._returned = True
        known = new.resources
        missed = [item for item in sorted(watch.reported.items()) if item[0] not in known]
        staying = resource_set(CLUSTER, [unknown(name, version) for name, version in missed])
        return self._responses.union(staying, new)

    def _settle(self, watch: Watch, request: discovery_pb2.DeltaDiscoveryRequest) -> list[bytes]:
        nonce = request.response_nonce
        if not nonce:
            return []
        error = request.error_detail.message if request.HasField("error_detail") else None
        names = frozenset(watch.ledger.names(nonce))
        event = self._record(watch, nonce, error)
        if not isinstance(event, Nacked) or not event.resources:
            return []
        if watch.type_url not in _STOP_AT_FIRST_ERROR:
            return []
        innocent = names - frozenset(event.resources)
        return self._send_unless_empty(self._again(watch, innocent))

    def _subscribe(self, watch: Watch, request: discovery_pb2.DeltaDiscoveryRequest) -> list[bytes]:
        # A stale nonce does not matter here: what is wanted is told only once.
        add = frozenset(request.resource_names_subscribe)
        remove = request.resource_names_unsubscribe
        if not add and not remove:
            return []
        wanted = watch.wanted.changed(add, remove)
        check_names(self._limits, add, watch.type_url)
        check_names(self._limits, wanted.names, watch.type_url)
        if watch.wanted.wildcard and not wanted.wildcard:
            watch.left = watch.applied
        self._want_anew(watch, wanted)
        if not watch.answered:
            # The first answer still waits: the client keeps nothing that it leaves meanwhile, and
            # is owed anew whatever it asks for again.
            watch.reported = {
                name: version if wanted.covers(name) and name not in add else ""
                for name, version in watch.reported.items()
            }
        if not watch.answered or not add:
            return []
        if ANY in add:
            # What was on its way when the client left the wildcard may have come after it is back.
            change = self._responses.since(
                dict.fromkeys(watch.left.resources, ""), watch.applied, watch.wanted
            )
        else:
            known = self._known(watch, add)
            if not known:
                return []
            change = self._responses.only(known, watch.applied)
        return self._send_unless_empty(Step(watch, change, watch.applied))

    def _send_unless_empty(self, step: Step) -> list[bytes]:
        return self._send(step) if step.change else []

    def _encode(self, step: Step, nonce: str) -> Response:
        return self._responses.delta(step.change, step.new, nonce)
