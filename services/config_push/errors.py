"""What goes wrong with one stream or with the feed.

StreamError           the stream has to end; its message may be shown to the proxy
 ├─ UnsyncedError     there is no mesh yet
 ├─ DeniedError       what the proxy claims is not what its credential proves
 ├─ ProtocolError     the stream is not used as the protocol says
 ├─ SlowReaderError   the proxy did not read what it was sent
 └─ CrowdedError      too many streams are open
FeedGapError          the feed has to be subscribed anew
"""


class StreamError(Exception):
    """Base of what ends one stream."""


class UnsyncedError(StreamError):
    """Come back later (UNAVAILABLE)."""


class DeniedError(StreamError):
    """Not for this identity (PERMISSION_DENIED)."""


class ProtocolError(StreamError):
    """INVALID_ARGUMENT."""


class SlowReaderError(StreamError):
    """Reconnect when there is time to read (UNAVAILABLE)."""


class CrowdedError(StreamError):
    """RESOURCE_EXHAUSTED."""


class FeedGapError(Exception):
    """Messages of the feed are missing or make no sense; the message says which."""
