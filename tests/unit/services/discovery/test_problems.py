from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from services.discovery.problems import Problems, message

ONE = Problem(
    Ref("Service/a/b"), "spec", "Why", "because", severity=Severity.WARNING, file="f", line=3
)


async def test_watchers_get_the_latest_list_and_each_new_one() -> None:
    problems = Problems()
    problems.publish(())
    first, late = problems.follow(), problems.follow()
    assert await anext(first) == ()
    problems.publish((ONE,))
    problems.publish((ONE,))
    assert await anext(first) == (ONE,)
    assert await anext(late) == (ONE,)
    problems.publish(())
    assert await anext(first) == ()


def test_the_message_says_it_all() -> None:
    (found,) = message((ONE,)).problems
    assert (found.ref, found.path, found.reason, found.text) == (
        "Service/a/b",
        "spec",
        "Why",
        "because",
    )
    assert (found.severity, found.file, found.line) == ("warning", "f", 3)
