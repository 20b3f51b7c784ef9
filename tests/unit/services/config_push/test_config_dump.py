"""The dump of what a proxy should have."""

import json
import subprocess
import sys

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from google.protobuf.any_pb2 import Any

from libs.xds.types import EXTENSION, resource, resource_set
from services.config_push import config_dump

BUFFER = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"
AFRESH = """
from libs.xds.types import EXTENSION, resource, resource_set
from services.config_push import config_dump
made = resource("x", EXTENSION, body=bytes.fromhex("%s"))
print(config_dump.render({EXTENSION: resource_set(EXTENSION, [made])}).decode())
"""


def _body() -> bytes:
    named = TypedExtensionConfig(name="x", typed_config=Any(type_url=BUFFER))
    return named.SerializeToString(deterministic=True)


def test_extensions_stand_where_envoy_has_them() -> None:
    made = resource_set(EXTENSION, [resource("x", EXTENSION, body=_body())])
    dump = json.loads(config_dump.render({EXTENSION: made}))
    assert dump["configs"][-1]["@type"] == "type.googleapis.com/envoy.admin.v3.EcdsConfigDump"
    (shown,) = dump["configs"][-1]["ecds_filters"]
    assert shown["ecds_filter"]["typed_config"] == {"@type": BUFFER}


def test_types_that_another_process_has_loaded_are_shown_as_well() -> None:
    program = AFRESH % _body().hex()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert BUFFER in done.stdout
