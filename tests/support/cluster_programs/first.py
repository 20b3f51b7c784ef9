"""One call, as soon as the program runs; the exit code says whether it was answered."""

import sys
import urllib.request
from urllib.error import HTTPError


def call(url: str) -> str:
    """Return what went wrong, or an empty text."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the test's own
            return "" if answer.status == 200 else str(answer.status)
    except HTTPError as error:
        return f"{error.code} {error.read(200)!r}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(call(sys.argv[1]) or 0)  # an empty text would be a failure, too
