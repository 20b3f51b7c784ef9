import pytest

from tests.support.rulings import of_route


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{abort: {httpStatus: 200}}", "{}", " MissingField"),
        (
            "{abort: {httpStatus: 599}}",
            "{abort: {httpStatus: 199}}",
            ".abort.httpStatus InvalidStatus",
        ),
        (
            "{abort: {grpcStatus: NOT_FOUND}}",
            "{abort: {grpcStatus: '5'}}",
            ".abort.grpcStatus Inval",
        ),
        ("{abort: {httpStatus: 500}}", "{abort: {http2Error: x}}", ".abort.http2Error Unsupported"),
        (
            "{abort: {httpStatus: 500}}",
            "{abort: {httpStatus: 500, grpcStatus: NOT_FOUND}}",
            ".abort ConflictingFields",
        ),
        (
            "{abort: {httpStatus: 500, percentage: {value: 0.0001}}}",
            "{abort: {httpStatus: 500, percentage: {value: 0.00001}}}",
            ".abort.percentage.value OutOfRange",
        ),
        ("{delay: {fixedDelay: 1s}}", "{delay: {fixedDelay: 0s}}", ".delay.fixedDelay InvalidDur"),
        (
            "{delay: {fixedDelay: 1s}}",
            "{delay: {exponentialDelay: 1s}}",
            ".delay.exponentialDelay Uns",
        ),
        (
            "{delay: {fixedDelay: 1s, percentage: {value: 0}}}",
            "{delay: {fixedDelay: 1s, percentage: {value: 101}}}",
            ".delay.percentage.value OutOfRange",
        ),
    ],
)
def test_faults(good: str, bad: str, found: str) -> None:
    assert of_route(f"fault: {good}") == []
    (error,) = of_route(f"fault: {bad}")
    assert error.startswith(f"fault{found}")


def test_what_does_nothing_and_what_is_old() -> None:
    assert of_route("fault: {abort: {}}") == ["warning fault.abort NoEffect"]
    delay = "fault: {delay: {fixedDelay: 1s, percent: 5}}"
    assert of_route(delay) == ["warning fault.delay.percent Deprecated"]
