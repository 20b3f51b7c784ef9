"""YAML events: libyaml's scanner and parser, without its composer.

Events come lazily, so that whoever sees too much of something can stop before the rest is scanned:
libyaml's cost for each token grows with the depth of flow brackets that are open.
"""

from collections.abc import Iterator

from yaml._yaml import CParser
from yaml.events import Event, StreamEndEvent


def events(data: bytes) -> Iterator[Event]:
    """Yield the events of `data`, which is UTF-8.

    Raises:
        YAMLError, ValueError: it is not YAML.

    """
    parser = CParser(data)
    while (event := parser.get_event()) is not None and not isinstance(event, StreamEndEvent):
        yield event


def line(event: Event | None) -> int:
    """Return the line of an event, counted from 0."""
    mark = event.start_mark if event else None
    return mark.line if mark else 0
