"""What is wanted of telemetry: where access logs go."""

from msgspec import Struct


class AccessLog(Struct, frozen=True, gc=False, omit_defaults=True):
    """An access log file of every proxy; no path: no log, no format: the default."""

    path: str = ""
    format: str = ""
    json: bool = False
