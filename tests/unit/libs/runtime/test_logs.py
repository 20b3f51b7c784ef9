import io
import json
import logging
from collections.abc import Iterator

import pytest

from libs.runtime import logs
from libs.runtime.secret import Secret

ESCAPE = '\x1b[2J\r\n{"level":"error","message":"forged"}\u2028\x00'


@pytest.fixture(name="lines")
def captured() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("test", "info", stream=stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    root.setLevel(level)


def parsed(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_with_fields(lines: io.StringIO) -> None:
    logging.getLogger("a.b").info("proxy connected", extra={"proxy": "web", "count": 3})
    (line,) = parsed(lines)
    assert line["message"] == "proxy connected"
    assert (line["level"], line["service"], line["logger"]) == ("info", "test", "a.b")
    assert (line["proxy"], line["count"]) == ("web", 3)
    assert str(line["time"]).endswith("Z")


def test_text_from_outside_cannot_forge_a_line(lines: io.StringIO) -> None:
    logger = logging.getLogger("x")
    logger.info("node %s", ESCAPE, extra={"node": ESCAPE, "level": "error", "time": "never"})
    logger.error("failed", exc_info=ValueError(ESCAPE))
    assert "\x1b" not in lines.getvalue()
    first, second = parsed(lines)
    assert first["node"] == ESCAPE
    assert first["level"] == "info"
    assert (first["level_"], first["time_"]) == ("error", "never")
    assert second["message"] == "failed"
    assert "ValueError" in str(second["exception"])


def test_long_values_are_cut_and_hostile_ones_do_not_crash(lines: io.StringIO) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    logging.getLogger("x").info(
        "values", extra={"long": "x" * 100_000, "bad": Hostile(), "secret": Secret("hush")}
    )
    (line,) = parsed(lines)
    assert len(str(line["long"])) < 1100
    assert "cannot be printed" in str(line["bad"])
    assert "hush" not in lines.getvalue()


def test_levels(lines: io.StringIO) -> None:
    logging.getLogger("x").debug("quiet")
    assert parsed(lines) == []
    with pytest.raises(ValueError, match="loud"):
        logs.configure("test", "loud")


@pytest.mark.parametrize(
    ("error", "said"), [(TimeoutError(), "TimeoutError"), (OSError("no route"), "no route")]
)
def test_an_error_without_words_says_its_name(error: Exception, said: str) -> None:
    assert logs.words(error) == said
