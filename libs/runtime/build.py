"""Build: which version this is, in the words in which istioctl reads a control plane's.

Istio's name for it is BuildInfo. A revision of the source is not known in an installed package.
"""

import platform
from importlib import metadata

_UNKNOWN = "unknown"


def version() -> str:
    """Return the version of the installed distribution, or `dev` in a plain checkout."""
    try:
        return metadata.version("seine")
    except metadata.PackageNotFoundError:
        return "dev"


def info() -> dict[str, str]:
    """Return what istioctl shows of a build; the language's version has Go's name there."""
    return {
        "version": version(),
        "revision": _UNKNOWN,
        "golang_version": f"python{platform.python_version()}",
        "status": _UNKNOWN,
        "tag": version(),
    }
