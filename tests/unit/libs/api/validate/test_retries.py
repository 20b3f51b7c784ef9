import pytest

from tests.support.rulings import of_route


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{attempts: 0}", "{attempts: -1}", ".attempts OutOfRange"),
        ("{attempts: 1, perTryTimeout: 1s}", "{perTryTimeout: 1s}", " ConflictingFields"),
        ("{attempts: 1, retryOn: 5xx}", "{attempts: 0, retryOn: 5xx}", " ConflictingFields"),
        (
            "{attempts: 1, perTryTimeout: 1s}",
            "{attempts: 1, perTryTimeout: 0s}",
            ".perTryTimeout Inv",
        ),
        ("{attempts: 1, backoff: 1s}", "{attempts: 1, backoff: 0s}", ".backoff InvalidDuration"),
        (
            "{attempts: 1, retryOn: '5xx,503'}",
            "{attempts: 1, retryOn: '5xx, 503'}",
            ".retryOn Inval",
        ),
        ("{attempts: 1, retryOn: reset}", "{attempts: 1, retryOn: sometimes}", ".retryOn Invalid"),
        (
            "{attempts: 1, retryOn: '418'}",
            "{attempts: 1, retryOn: '999'}",
            ".retryOn InvalidRetryOn",
        ),
    ],
)
def test_retries(good: str, bad: str, found: str) -> None:
    assert of_route(f"retries: {good}") == []
    (error,) = of_route(f"retries: {bad}")
    assert error.startswith(f"retries{found}")
