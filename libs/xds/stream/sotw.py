"""SotwSession: the state-of-the-world protocol, for clients that do not speak delta.

A request repeats everything that is wanted, so one with a stale nonce is ignored: a newer one
comes. Only what it leaves out is noted, because the client has dropped that: if it wants it again,
it has to be sent again. Types that come whole (CDS, LDS) are sent whole when anything of them
changes; of the others only what changed. Removal can be said only by leaving out, so only for
types that come whole.

Who reconnects says of its clusters only their version. If clients were brought to that version
lately, by a replica with the same memory, what it had stays until its routes are compared.
"""

from envoy.service.discovery.v3 import discovery_pb2

from libs.xds.stream.difference import Difference
from libs.xds.stream.limits import check_names, check_type
from libs.xds.stream.responses import Response
from libs.xds.stream.session import Session, Step
from libs.xds.stream.subscription import NAMED_TYPES, NOTHING, first
from libs.xds.stream.watch import Watch
from libs.xds.types import CLUSTER, ResourceSet


class SotwSession(Session):
    """One stream of StreamAggregatedResources."""

    _had: ResourceSet | None = None  # the clusters of a client that is back, until its first answer
    _had_endpoints: ResourceSet | None = None  # theirs, as long as clusters stay

    def on_request(self, request: discovery_pb2.DiscoveryRequest) -> list[bytes]:
        """Return the responses to one request, in order.

        Raises:
            RequestError: the client asks for what it may not; the stream has to end.

        """
        check_type(self._limits, request.type_url, self._watches)
        check_names(self._limits, request.resource_names, request.type_url)
        watch = self._watches.get(request.type_url)
        if watch is None:
            wanted = self._responses.subscription(first(request.type_url, request.resource_names))
            watch = self._watches[request.type_url] = Watch(request.type_url, wanted)
            self._recall(watch, request.version_info)
            return self._send_first(watch)
        answers = self._want(watch, request) if self._settle(watch, request) else []
        return answers + self._resume()

    def _recall(self, watch: Watch, version: str) -> None:
        if watch.type_url != CLUSTER or not version or not self._gated:
            return
        known = self._responses.recalled(version)
        if known is None:
            return
        self._had, self._had_endpoints = known
        watch.reported = {name: it.version for name, it in self._had.resources.items()}
        self._returned = True
        self._keep_endpoints(stay=True)

    def _first_at_once(self, watch: Watch) -> ResourceSet:
        new = super()._first_at_once(watch)
        if watch.type_url != CLUSTER or watch.answered or self._had is None:
            return new
        return self._responses.union(self._had, new)

    def _keep_endpoints(self, *, stay: bool) -> None:
        super()._keep_endpoints(stay=stay)
        if not stay:
            self._had_endpoints = None
        elif self._had_endpoints is not None and self._endpoints is not None:
            # A cluster that stays may have been warming when the client left.
            self._endpoints = self._responses.union(self._had_endpoints, self._endpoints)

    def _emit(self, step: Step) -> bytes:
        body = super()._emit(step)
        if step.watch.type_url == CLUSTER:
            self._had = None
            self._responses.remember(step.new, self._endpoints)
        return body

    def _settle(self, watch: Watch, request: discovery_pb2.DiscoveryRequest) -> bool:
        """Record the client's answer; False if the request is to be ignored."""
        nonce = request.response_nonce
        if not nonce and not watch.answered:
            return True
        latest = nonce == watch.ledger.sent
        if not latest:
            watch.dropped |= watch.wanted.names.difference(request.resource_names)
        if nonce and (watch.ledger.waits(nonce) or not latest):
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._record(watch, nonce, error)
        return latest

    def _want(self, watch: Watch, request: discovery_pb2.DiscoveryRequest) -> list[bytes]:
        before = watch.wanted
        if request.resource_names or before.names:
            wanted = NOTHING.changed(request.resource_names, ())
        else:
            wanted = before  # naming nothing, as in the first request
        again = wanted.names & watch.dropped
        watch.dropped = frozenset()
        if wanted == before and not again:
            return []
        self._want_anew(watch, wanted)
        new = (wanted.names - before.names) | again
        return self._send_new(watch, new, everything=not before.wildcard)

    def _send_new(self, watch: Watch, new: frozenset[str], *, everything: bool) -> list[bytes]:
        if not watch.answered:
            return []
        if watch.wanted.wildcard and everything:
            change = self._responses.since({}, watch.applied, watch.wanted)
        elif new:
            change = self._responses.only(self._known(watch, new), watch.applied)
        else:
            return []
        step = Step(watch, change, watch.applied)
        return self._send(step) if self._worth_sending(step) else []

    def _first(self, watch: Watch, new: ResourceSet) -> Difference:
        return self._responses.since({}, new, watch.wanted)

    def _worth_sending(self, step: Step) -> bool:
        if step.watch.type_url in NAMED_TYPES:
            return bool(step.change.upserts)
        return bool(step.change)

    def _encode(self, step: Step, nonce: str) -> Response:
        if step.watch.type_url in NAMED_TYPES:
            return self._responses.part(step.change, step.new, nonce)
        return self._responses.whole(step.new, step.watch.wanted, nonce)
