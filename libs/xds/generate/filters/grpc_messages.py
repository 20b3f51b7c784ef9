"""gRPC messages: counted by Envoy, and put where a format of the access log can read each number.

Envoy's own filter counts the messages of a stream in both directions, but shows the numbers as one
text, `2,3`. A short script takes it apart into two fields of dynamic metadata, `SPACE`, when the
response ends. It also does so on the way, since nobody tells it that a stream is reset: for each of
the first parts of the response, then less often, so that what is missing of such a stream is a
sixteenth at most. It looks at parts as they pass and holds none back. Responses that are not gRPC
pay for one look at their content type.

What is counted, and with which tags, is not decided here: `generate.metrics` does that. Why it is a
script, and what it costs: docs/adr/0047.
"""

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter, MetadataFilter
from envoy.extensions.filters.http.grpc_stats.v3.config_pb2 import FilterConfig
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher
from google.protobuf.wrappers_pb2 import BoolValue

from libs.xds.generate import typed

NAME = "istio.grpc_messages"
COUNTING = "envoy.filters.http.grpc_stats"
SPACE = "istio.grpc_messages"
"""The dynamic metadata that holds the numbers, as `request` and `response`."""

_SHARE = 16  # of so many parts, one may not have been noted when a stream is reset

_SCRIPT = f"""\
local function note(handle)
  local info = handle:streamInfo()
  local counted = info:filterState():get("{COUNTING}")
  if not counted then return end
  local sent, answered = counted:match("^(%d+),(%d+)$")
  local metadata = info:dynamicMetadata()
  metadata:set("{SPACE}", "request", tonumber(sent))
  metadata:set("{SPACE}", "response", tonumber(answered))
end

function envoy_on_response(handle)
  local kind = handle:headers():get("content-type")
  if kind ~= "application/grpc" and (not kind or kind:sub(1, 17) ~= "application/grpc+") then
    return
  end
  local parts, due = 0, 1
  for _ in handle:bodyChunks() do
    parts = parts + 1
    if parts >= due then
      note(handle)
      due = parts + 1 + math.floor(parts / {_SHARE})
    end
  end
  note(handle)
end
"""


def _noting() -> Lua:
    script = Lua()
    script.default_source_code.inline_string = _SCRIPT
    return script


FILTERS = (
    typed.http_filter(NAME, _noting()),
    typed.http_filter(
        COUNTING, FilterConfig(emit_filter_state=True, stats_for_all_methods=BoolValue())
    ),
)
"""For connection managers whose metrics count messages; responses meet the second one first."""


def number(direction: str) -> str:
    """Return the format of a number; `direction` is `request` or `response`."""
    return f"%DYNAMIC_METADATA({SPACE}:{direction})%"


def known() -> AccessLogFilter:
    """Return the filter of loggers that lets only streams pass whose numbers are known."""
    matcher = MetadataMatcher(filter=SPACE, value=ValueMatcher(present_match=True))
    matcher.path.add(key="response")
    found = AccessLogFilter()
    found.metadata_filter.CopyFrom(
        MetadataFilter(matcher=matcher, match_if_key_not_found=BoolValue(value=False))
    )
    return found
