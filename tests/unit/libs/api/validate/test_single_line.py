import pytest

from libs.api import reasons
from libs.api.report import Report
from libs.api.validate.single_line import check_line, is_line
from libs.model.ids import Ref


@pytest.mark.parametrize("text", ["", "a b", "a\tb", "é", "%"])
def test_a_text_on_one_line(text: str) -> None:
    assert is_line(text)


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x00b", "\n"])
def test_a_text_that_envoy_would_refuse_with_all_that_it_stands_in(text: str) -> None:
    report = Report(Ref("Thing/a/b"))
    check_line(text, (None, "field"), report, reason=reasons.INVALID_HEADER)
    assert [(found.path, found.reason) for found in report.problems] == [
        ("field", reasons.INVALID_HEADER)
    ]
