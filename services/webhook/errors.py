"""What this service raises.

RefusedError    a request that is no admission review; it has an HTTP status and a reason
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was refused; the label of a metric, so there are only these."""

    METHOD = "method"
    CONTENT_TYPE = "content_type"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    BUSY = "busy"
    NOT_A_REVIEW = "not_a_review"


_STATUS = {
    Reason.METHOD: 405,
    Reason.CONTENT_TYPE: 415,
    Reason.ENCODING: 415,
    Reason.TOO_LARGE: 413,
    Reason.TOO_SLOW: 408,
    Reason.BUSY: 503,
    Reason.NOT_A_REVIEW: 400,
}


class RefusedError(Exception):
    """The request gets a status and a sentence, and no answer."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.reason]
