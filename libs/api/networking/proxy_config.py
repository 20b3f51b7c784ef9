"""ProxyConfig: settings of the proxies of a namespace or of some of its workloads.

Not to be mixed up with the larger ProxyConfig of MeshConfig, which is `libs.api.proxy_defaults`.
"""

from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message
from libs.api.selector import WorkloadSelector


class ProxyImage(Message, frozen=True):
    """Which variant of the proxy's image is run."""

    image_type: str = ""


class ProxyConfigSpec(Message, frozen=True):
    """Fields of the kind; a concurrency of 0 means every processor, None the default."""

    selector: WorkloadSelector | None = None
    concurrency: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    environment_variables: dict[str, Annotated[str, Meta(max_length=2048)]] = {}
    image: ProxyImage | None = None


class ProxyConfig(IstioResource, frozen=True):
    """The kind."""

    spec: ProxyConfigSpec = ProxyConfigSpec()
