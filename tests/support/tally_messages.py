"""Messages of Envoy about TCP connections, written by hand."""

from libs.protos.tally.v1 import tally_pb2


def record(*body: str, began: int = 1, **labels: str) -> tally_pb2.Record:
    """Return an entry: `body` is the connection, the kind, then names and values."""
    found = tally_pb2.Record(time_unix_nano=began)
    for text in body:
        found.body.array_value.values.add(string_value=text.encode())
    for name, text in labels.items():
        found.attributes.add(key=name.encode()).value.string_value = text.encode()
    return found


def message(*records: tally_pb2.Record, **shared: str) -> bytes:
    """Return the message of some entries that share labels."""
    export = tally_pb2.Export()
    logs = export.resource_logs.add()
    for name, text in shared.items():
        logs.resource.attributes.add(key=name.encode()).value.string_value = text.encode()
    logs.scope_logs.add(log_records=records)
    return export.SerializeToString()
