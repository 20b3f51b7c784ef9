"""Endpoint: an HTTP path that answers reviews, made of a function that judges one question.

Requests that are no reviews get a status and a sentence, never a stack trace. What the judge itself
does wrong is a bug: the request ends with 500, the log has the trace, and the process goes on,
because a webhook that is gone holds up a cluster.
"""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from services.webhook import metrics, review
from services.webhook.bodies import Bodies
from services.webhook.errors import RefusedError
from services.webhook.review import Question, Verdict

logger = logging.getLogger(__name__)

VALIDATE = "/validate"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Judge = Callable[[Question, str], Awaitable[Verdict]]
"""Answers a question; also given the path on which it was asked."""


def endpoint(judge: Judge, bodies: Bodies) -> Handler:
    """Return the handler of a path."""

    async def handle(request: web.Request) -> web.Response:
        try:
            async with bodies.read(request) as body:
                found = review.read(body)
                verdict = await judge(found.request, request.path)
        except RefusedError as error:
            metrics.REFUSED.labels(error.reason).inc()
            if request.path.startswith(VALIDATE):
                metrics.VALIDATION_HTTP_ERRORS.labels(error.status).inc()
            logger.warning("request refused", extra={"reason": error.reason, "text": error.text})
            response = web.Response(status=error.status, text=error.text + "\n")
            response.force_close()  # the rest of a body that nobody reads
            return response
        content = review.answer(found, verdict)
        return web.Response(body=content, content_type="application/json")

    return handle
