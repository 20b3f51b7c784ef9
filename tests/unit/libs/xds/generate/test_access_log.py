from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

from libs.model.telemetry import AccessLog
from libs.xds.generate import access_log

ISTIO = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def file(wanted: AccessLog) -> FileAccessLog:
    [log] = access_log.files(wanted)
    found = FileAccessLog()
    assert log.typed_config.Unpack(found)
    return found


def test_nothing_is_logged_unless_it_is_wanted() -> None:
    assert access_log.files(AccessLog()) == []
    assert access_log.unmatched(AccessLog()) == []


def test_the_default_line_is_istios() -> None:
    found = file(AccessLog(path="/dev/stdout"))
    assert found.path == "/dev/stdout"
    assert found.log_format.text_format_source.inline_string == ISTIO


def test_a_format_of_ones_own() -> None:
    found = file(AccessLog(path="/x", format="%PROTOCOL%\n"))
    assert found.log_format.text_format_source.inline_string == "%PROTOCOL%\n"


def test_json() -> None:
    found = file(AccessLog(path="/x", json=True)).log_format.json_format
    assert found["response_code_details"] == "%RESPONSE_CODE_DETAILS%"
    own = file(AccessLog(path="/x", json=True, format='{"p": "%PROTOCOL%"}')).log_format.json_format
    assert dict(own) == {"p": "%PROTOCOL%"}


def test_a_listener_logs_only_what_none_of_its_chains_takes() -> None:
    [log] = access_log.unmatched(AccessLog(path="/x"))
    assert list(log.filter.response_flag_filter.flags) == ["NR"]
