"""Names of credentials: who has what they name.

A name without a scheme is that of a Secret. `sds://` is for a server beside the proxy, `builtin://`
for the mesh's own certificate. Other schemes lead nowhere: those that Istio makes of the Gateway
API's references mean something in what it generates only.
"""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

_SECRET = "kubernetes://"  # noqa: S105 - a scheme
_CONFIG_MAP = "configmap://"
_EXTERNAL = "sds://"
_BUILTIN = frozenset({"builtin://", "builtin://-cacert"})


def check_credential_name(name: str, path: Path, report: Report) -> None:
    """Report a name that no proxy is ever given anything for."""
    scheme, colon, rest = name.partition("://")
    if not colon or name in _BUILTIN:
        return
    prefix = f"{scheme}{colon}"
    if prefix in {_SECRET, _EXTERNAL} and not rest:
        text = f"{prefix} must be followed by a name"
        report.error(path, reasons.INVALID_NAME, text)
    elif prefix not in {_SECRET, _CONFIG_MAP, _EXTERNAL}:
        text = f"there is nobody to ask for {name[:100]!r}: write a Secret's name, or sds://<name>"
        report.error(path, reasons.INVALID_NAME, text)
