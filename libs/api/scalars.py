"""Scalar types of the API's fields: durations, times, bounded integers, data of others.

They are plain values at run time; `libs.api.decode` reads the text forms of Kubernetes and
protobuf JSON into them, and refuses everything else.
"""

from typing import Annotated, NewType

from msgspec import Meta

Duration = NewType("Duration", int)
"""Milliseconds, written as Go writes durations: `1.5s`, `100ms`, `1h30m`. May be negative."""

Timestamp = NewType("Timestamp", int)
"""Seconds since the epoch, written as RFC 3339."""

JsonObject = NewType("JsonObject", dict[str, object])
"""A mapping that is passed on as it is written, such as the settings of a plugin."""

UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
UInt64 = Annotated[int, Meta(ge=0, le=2**64 - 1)]
