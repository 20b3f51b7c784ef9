"""One GET: `ask.py URL [NAME ADDRESS]` prints the answer's status and body, or what went wrong.

With a name and an address it connects there and says that name, in TLS and as the host; whoever
answers must prove it with a certificate that `/certificates/ca.crt` vouches for.
"""

import json
import socket
import ssl
import sys
import urllib.request
from http.client import HTTPSConnection
from urllib.error import HTTPError


def plain(url: str) -> dict[str, object]:
    """Ask over HTTP."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - the test's own
            return {"status": answer.status, "body": answer.read().decode()}
    except HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}


def over_tls(path: str, name: str, address: str) -> dict[str, object]:
    """Ask a server at an address for its name."""
    context = ssl.create_default_context(cafile="/certificates/ca.crt")
    with socket.create_connection((address, 443), timeout=20) as raw:
        connection = HTTPSConnection(name)
        connection.sock = context.wrap_socket(raw, server_hostname=name)
        connection.request("GET", path)
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read().decode()}


def main(words: list[str]) -> dict[str, object]:
    """Ask, and return what is printed."""
    try:
        return over_tls(*words) if len(words) > 1 else plain(*words)
    except OSError as error:
        return {"status": 0, "body": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
