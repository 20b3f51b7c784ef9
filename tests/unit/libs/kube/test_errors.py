import pytest

from libs.kube import errors
from libs.kube.errors import ApiError, error_of


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidError),
        (401, errors.UnauthorizedError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (405, ApiError),
        (409, errors.ConflictError),
        (410, errors.GoneError),
        (422, errors.InvalidError),
        (429, errors.BusyError),
        (500, errors.ServerError),
        (504, errors.ServerError),
    ],
)
def test_a_status_has_its_error(status: int, kind: type[ApiError]) -> None:
    found = error_of(status, {"reason": "Why", "message": "what"})
    assert type(found) is kind
    assert (found.status, found.reason, found.message) == (status, "Why", "what")
    assert str(found) == f"{status} Why: what"


def test_an_answer_that_is_no_status_is_quoted_and_bounded() -> None:
    found = error_of(502, "x" * 100_000, retry_after=2.0)
    assert found.reason == "Unknown"
    assert len(str(found)) < 2000
    assert found.retry_after == 2.0
