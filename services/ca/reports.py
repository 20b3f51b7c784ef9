"""Reports: whether all proxies that are connected say that they trust a root.

Every replica of config-push is asked, over mutual TLS; the API server knows which there are. When
one does not answer, or there is none, nothing is proved. Who does not trust the root yet is logged.
"""

import logging

import grpc
import grpc.aio

from libs.kube.client import Client
from libs.kube.errors import KubeError
from libs.protos.trust.v1 import trust_pb2_grpc
from libs.protos.trust.v1.trust_pb2 import CountReply, CountRequest
from libs.rpc import channel
from libs.rpc.errors import NotReadyError
from libs.rpc.svid import Svid
from services.ca import metrics

logger = logging.getLogger(__name__)

ACCOUNT = "seine-config-push"
"""Who is asked, whatever Service leads there."""
TIMEOUT_SECONDS = 5.0
MAX_REPLICAS = 200
_LABEL = "kubernetes.io/service-name"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


class Reports:
    """Asks the replicas of a Service. `svid` is set once there is one."""

    def __init__(self, client: Client, namespace: str, service: str, *, port: int) -> None:
        self._client = client
        self._path = _SLICES.format(namespace)
        self._service = service
        self._name = f"{ACCOUNT}.{namespace}.svc"
        self._port = port
        self.svid: Svid | None = None

    async def trusted(self, root: str, since: float) -> bool:
        """Tell whether everybody who is connected trusts `root`; see `services.ca.proof`."""
        try:
            addresses = await self._replicas()
            replies = [await self._ask(address, root, since) for address in addresses]
        except (KubeError, NotReadyError) as error:
            logger.info("reports not known", extra={"reason": str(error)})
            return False
        except grpc.aio.AioRpcError as error:
            logger.info("reports not known", extra={"reason": f"{error.code()}"})
            return False
        missing = sum(reply.connected - reply.trusting for reply in replies)
        metrics.NOT_TRUSTING.set(missing)
        if missing:
            named = [name for reply in replies for name in reply.others][:10]
            logger.info("proxies without the root", extra={"count": missing, "proxies": named})
        # Nobody at all is rather a control plane that has just come up than a mesh without proxies.
        return any(reply.connected for reply in replies) and not missing

    async def _replicas(self) -> list[str]:
        """Return the addresses of all replicas, ready or not: a proxy may be connected to each."""
        found = await self._client.get(
            self._path, {"labelSelector": f"{_LABEL}={self._service}", "limit": MAX_REPLICAS}
        )
        addresses = {
            address
            for each in found.get("items") or ()
            for endpoint in each.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
        }
        return sorted(addresses)[:MAX_REPLICAS]

    async def _ask(self, address: str, root: str, since: float) -> CountReply:
        if self.svid is None:
            raise NotReadyError("this service has no certificate yet")
        host = f"[{address}]" if ":" in address else address
        async with channel.connect(
            f"{host}:{self._port}",
            credentials=self.svid.channel_credentials(),
            server_name=self._name,
        ) as opened:
            stub = trust_pb2_grpc.TrustStub(opened)
            return await stub.Count(CountRequest(root=root, since=since), timeout=TIMEOUT_SECONDS)
