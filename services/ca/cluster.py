"""Cluster: what a CA in Kubernetes stands on: Secrets, reviews, ConfigMaps, pods and a Lease."""

import socket
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from libs.api import mesh_layers
from libs.kube.client import Client
from libs.kube.domain import cluster_domain
from libs.kube.lease import Lease
from libs.kube.tokens import Reviewer
from libs.model.ids import SpiffeId
from libs.pki.authority import Authority
from libs.rpc.svid import Svid
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.ca import authn, metrics, trust_domain
from services.ca.caller import Caller, Prove
from services.ca.machine_accounts import MachineAccounts
from services.ca.node_agents import NodeAgents
from services.ca.proof import Proof
from services.ca.reports import Reports
from services.ca.root_maps import RootMaps
from services.ca.root_secret import RootSecret
from services.ca.rotator import Rotator
from services.ca.rules import Rules
from services.ca.settings import Settings

LEASE = "seine-ca"


class Cluster:
    """The parts that only a CA in a cluster has."""

    def __init__(self, settings: Settings, client: Client, domain: str, *, clock: Clock) -> None:
        self.trust_domain = domain
        rules = Rules(
            domain,
            settings.certificate_seconds,
            root=settings.root_seconds,
            patience=settings.confirm_seconds,
        )
        self._reports = Reports(
            client,
            settings.system_namespace,
            settings.config_push_service,
            port=settings.config_push_port,
        )
        proof = Proof(self._reports.trusted, clock=clock, settle=rules.settle)
        self.secret = RootSecret(
            client, settings.system_namespace, clock=clock, rules=rules, proof=proof
        )
        reviewer = Reviewer(
            client,
            clock=clock,
            audience=settings.token_audience,
            for_machines=MachineAccounts(client).may,
        )
        self.prove: Prove = authn.by_review(reviewer, trust_domain=domain)
        self._node_agents = NodeAgents(
            client, settings.trusted_node_accounts, trust_domain=domain, clock=clock
        )
        self._lease = Lease(
            client,
            settings.system_namespace,
            LEASE,
            # A pod that restarts has its old name: it must not take itself for its former self.
            holder=f"{socket.gethostname()}_{uuid.uuid4()}",
            clock=clock,
        )
        self._rotator = Rotator(self.secret, proof, clock=clock, check=self._lease.check)
        self._maps = RootMaps(
            client, lambda: self.secret.roots, clock=clock, check=self._lease.check
        )
        self.secret.on_authority(self._maps.renew)

    @property
    def authority(self) -> Authority:
        """What signs; raises UnconfirmedError while that is not known."""
        return self.secret.authority

    def on_authority(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the authority."""
        self.secret.on_authority(callback)

    async def cover(self, lifetime: int) -> None:
        """Prepare for certificates that live for `lifetime` seconds."""
        await self.secret.cover(lifetime)

    async def impersonate(self, caller: Caller, wanted: str) -> SpiffeId:
        """Return the identity of a pod on the caller's node; see `services.ca.node_agents`."""
        return await self._node_agents.impersonate(caller, wanted)

    def work(self, svid: Svid) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the ports, and asks others with `svid`."""
        self._reports.svid = svid
        return [self.secret.follow(), self._node_agents.run(), self._lease.lead(self._lead)]

    async def _lead(self) -> None:
        metrics.LEADER.set(1)
        try:
            async with background(self._rotator.run()):
                await self._maps.run()
        finally:
            metrics.LEADER.set(0)


async def opened(
    settings: Settings, client: Client, *, clock: Clock, hindered: Callable[[str], None]
) -> Cluster:
    """Return the parts, with an authority that is loaded, or made if there was none.

    Waits for Secrets that can be used; `hindered` is told why.

    Raises:
        KubeError: the API server does not let this service read what it needs.

    """
    domain = cluster_domain(settings.resolv_conf.read_text())  # once, a small file
    maps = (mesh_layers.config_map_name(settings.revision), settings.shared_mesh_config)
    named = await trust_domain.read(client, settings.system_namespace, maps, domain=domain)
    cluster = Cluster(settings, client, settings.trust_domain or named, clock=clock)
    await cluster.secret.load(hindered)
    return cluster
