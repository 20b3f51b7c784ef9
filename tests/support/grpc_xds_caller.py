"""A program whose channel is configured over xDS: for each line read it makes a call and prints.

A line is the metadata of the call, a JSON object.

`python -m tests.support.grpc_xds_caller xds:///name`, with GRPC_XDS_BOOTSTRAP in its environment.
"""

import json
import sys

import grpc


def main() -> None:
    with grpc.insecure_channel(sys.argv[1]) as channel:
        call = channel.unary_unary("/test.Echo/Who")
        for line in sys.stdin:
            metadata = tuple(json.loads(line).items())
            try:
                answer = call(b"", timeout=10, wait_for_ready=True, metadata=metadata).decode()
            except grpc.RpcError as error:
                answer = f"{error.code().name}: {error.details()}"
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
