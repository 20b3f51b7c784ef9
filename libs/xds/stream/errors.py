"""Errors of a session: what a client may not ask. The shell maps them to gRPC codes, once."""


class RequestError(Exception):
    """The stream cannot go on; the message may be shown to the client."""


class MalformedRequestError(RequestError):
    """The request makes no sense by itself (INVALID_ARGUMENT)."""


class LimitExceededError(RequestError):
    """The client asks for more than one stream may have (RESOURCE_EXHAUSTED)."""
