"""Additional roots: what a mesh trusts beside its own CA, as `caCertificatesPem` gives them.

Envoy refuses a whole bundle for one certificate that it cannot read, and then trusts nobody. So
each text is looked at here, and one that is no certificate is left out and logged.
"""

import logging
import ssl
from collections.abc import Iterable

logger = logging.getLogger(__name__)


def usable(texts: Iterable[str]) -> str:
    """Return the certificates among `texts`, PEM, one after the other; each ends with a newline."""
    found = []
    for index, text in enumerate(texts):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            extra = {"index": index, "reason": str(error)}
            logger.warning("an additional root is no certificate", extra=extra)
        else:
            found.append(text.strip() + "\n")
    return "".join(found)
