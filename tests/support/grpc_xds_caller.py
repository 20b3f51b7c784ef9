"""A program whose channel is configured over xDS: for each line read it makes a call and prints.

A line is the metadata of the call, a JSON object.

`python -m tests.support.grpc_xds_caller xds:///name clear|mutual`, with GRPC_XDS_BOOTSTRAP in its
environment. `mutual`: it has a certificate there, and uses it where its configuration says so.
"""

import json
import sys

import grpc
import grpc.experimental


def main() -> None:
    with _channel(sys.argv[1], mutual=sys.argv[2] == "mutual") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Who")
        for line in sys.stdin:
            metadata = tuple(json.loads(line).items())
            try:
                answer = call(b"", timeout=10, wait_for_ready=True, metadata=metadata).decode()
            except grpc.RpcError as error:
                answer = f"{error.code().name}: {error.details()}"
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


def _channel(target: str, *, mutual: bool) -> grpc.Channel:
    if not mutual:
        return grpc.insecure_channel(target)
    fallback = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]
    return grpc.secure_channel(target, grpc.xds_channel_credentials(fallback))


if __name__ == "__main__":
    main()
