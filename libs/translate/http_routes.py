"""HTTP routes: the rules for requests of a VirtualService."""

from collections.abc import Iterator

from libs.api.networking import virtual_service as api
from libs.model import traffic as model
from libs.translate import matches
from libs.translate.names import Names


def route(rule: api.HttpRoute, names: Names) -> model.HttpRoute:
    """Return one rule."""
    return model.HttpRoute(
        name=rule.name,
        matches=tuple(matches.http(match, names) for match in rule.match),
        destinations=tuple(_weighted(it, names) for it in rule.route),
        redirect=_redirect(rule.redirect),
        direct_response=_direct_response(rule.direct_response),
        rewrite=_rewrite(rule.rewrite),
        timeout=rule.timeout,
        retries=retries(rule.retries),
        fault=_fault(rule.fault),
        mirrors=tuple(_mirrors(rule, names)),
        cors=_cors(rule.cors_policy),
        headers=_headers(rule.headers),
    )


def destination(written: api.Destination, names: Names) -> model.Destination:
    """Return where one share of the traffic goes."""
    port = written.port.number if written.port else 0
    return model.Destination(names.host(written.host), written.subset, port)


def _weighted(written: api.HttpDestination, names: Names) -> model.WeightedDestination:
    return model.WeightedDestination(
        destination(written.destination, names), written.weight, _headers(written.headers)
    )


def _headers(headers: api.Headers | None) -> model.HeaderOperations | None:
    if headers is None:
        return None
    request = headers.request or api.HeaderChanges()
    response = headers.response or api.HeaderChanges()
    return model.HeaderOperations(
        request_set=request.set,
        request_add=request.add,
        request_remove=request.remove,
        response_set=response.set,
        response_add=response.add,
        response_remove=response.remove,
    )


def _redirect(redirect: api.Redirect | None) -> model.Redirect | None:
    if redirect is None:
        return None
    return model.Redirect(
        uri=redirect.uri,
        prefix=redirect.prefix_rewrite,
        authority=redirect.authority,
        port=redirect.port or 0,
        derive_port=redirect.derive_port or "",
        scheme=redirect.scheme,
        code=redirect.redirect_code or 301,
    )


def _direct_response(response: api.DirectResponse | None) -> model.DirectResponse | None:
    if response is None:
        return None
    body = response.body or api.Body()
    content = body.string.encode() if body.string is not None else body.bytes_ or b""
    return model.DirectResponse(response.status, content)


def _rewrite(rewrite: api.Rewrite | None) -> model.Rewrite | None:
    if rewrite is None:
        return None
    regex = rewrite.uri_regex_rewrite
    return model.Rewrite(
        uri=rewrite.uri,
        authority=rewrite.authority,
        uri_regex=model.RegexRewrite(regex.match, regex.rewrite) if regex else None,
    )


def retries(retry: api.Retry | None) -> model.Retries | None:
    """Return how often to try again; the mesh's settings write it the same way."""
    if retry is None:
        return None
    return model.Retries(
        attempts=retry.attempts,
        per_try_timeout=retry.per_try_timeout,
        retry_on=retry.retry_on,
        retry_remote_localities=retry.retry_remote_localities,
        retry_ignore_previous_hosts=retry.retry_ignore_previous_hosts,
        backoff=retry.backoff,
    )


def _fault(fault: api.Fault | None) -> model.Fault | None:
    if fault is None:
        return None
    delay, abort = _delay(fault.delay), _abort(fault.abort)
    return model.Fault(delay, abort) if delay or abort else None


def _delay(delay: api.Delay | None) -> model.Delay | None:
    """Without a share nothing is delayed: Istio reads it as 0 percent."""
    if delay is None or delay.fixed_delay is None:
        return None
    share = delay.percentage.value if delay.percentage else float(delay.percent)
    return model.Delay(delay.fixed_delay, share)


def _abort(abort: api.Abort | None) -> model.Abort | None:
    """Without a share everything is aborted, other than with a delay."""
    if abort is None or (abort.http_status is None and abort.grpc_status is None):
        return None
    return model.Abort(
        http_status=abort.http_status or 0,
        grpc_status=abort.grpc_status or "",
        percentage=abort.percentage.value if abort.percentage else 0.0,
    )


def _mirrors(rule: api.HttpRoute, names: Names) -> Iterator[model.Mirror]:
    """The single mirror or the list; one that would get nothing is no mirror."""
    written = list(rule.mirrors)
    if rule.mirror is not None:
        share = rule.mirror_percentage
        if share is None and rule.mirror_percent is not None:
            share = api.Percent(value=float(rule.mirror_percent))
        written.insert(0, api.Mirror(destination=rule.mirror, percentage=share))
    for mirror in written:
        percentage = mirror.percentage.value if mirror.percentage else 100.0
        if percentage > 0:
            yield model.Mirror(destination(mirror.destination, names), percentage)


def _cors(cors: api.CorsPolicy | None) -> model.Cors | None:
    if cors is None:
        return None
    origins = cors.allow_origins or tuple(api.StringMatch(exact=it) for it in cors.allow_origin)
    unmatched = cors.unmatched_preflights
    return model.Cors(
        allow_origins=tuple(matches.text(origin) for origin in origins),
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        expose_headers=cors.expose_headers,
        max_age=cors.max_age,
        allow_credentials=cors.allow_credentials,
        unmatched_preflights="" if unmatched is api.UnmatchedPreflights.UNSPECIFIED else unmatched,
    )
