r"""Logs: one JSON object a line, on standard error.

Call sites write a constant lower-case message and put what varies into fields:
`logger.info("proxy connected", extra={"proxy": proxy.id})`. Text from outside is therefore only
ever a value: control characters and line ends are escaped, and long values are cut.
"""

import datetime
import json
import logging
import sys
import traceback
from typing import Any, TextIO

MAX_VALUE_CHARACTERS = 1024
MAX_TRACE_CHARACTERS = 8192

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of ASCII JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        fields = {
            _free_name(name): _capped(value)
            for name, value in vars(record).items()
            if name not in _STANDARD
        }
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": _cut(record.getMessage(), MAX_VALUE_CHARACTERS),
            **fields,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _trace(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True, default=_text)


def words(error: BaseException) -> str:
    """Return what an error says for a log's field, or its name: a TimeoutError says nothing."""
    return str(error) or type(error).__name__


def configure(service: str, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream` (standard error) as JSON lines.

    Raises:
        ValueError: `level` is not debug, info, warning or error.

    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        message = f"log level {level!r} is not one of debug, info, warning, error"
        raise ValueError(message)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    logging.captureWarnings(capture=True)


def _free_name(name: str) -> str:
    """Keep a field from passing itself off as one of the line's own."""
    return f"{name}_" if name in {"time", "level", "service", "logger", "exception"} else name


def _capped(value: Any) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, bool | int | float):
        return value
    return _cut(_text(value), MAX_VALUE_CHARACTERS)


def _text(value: Any) -> str:  # noqa: ANN401
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # a log line must not crash on what it describes
        return f"<{type(value).__name__} that cannot be printed>"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…(+{len(text) - limit})"


def _trace(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error, limit=-20))
    return text if len(text) <= MAX_TRACE_CHARACTERS else f"…{text[-MAX_TRACE_CHARACTERS:]}"
