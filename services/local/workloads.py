"""Workloads: for each pod its program, and beside it an agent with an Envoy of its own.

What a kubelet, an injection template and a CNI would give them is given here: names, labels, token,
roots, interception. With namespaces a pod's processes run as the users that they have in a pod, and
its connections are captured by `agent init`; on loopback the program is told by its environment
where its proxy is.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from libs.runtime.localmesh import LocalWorkload
from services.local import programs, proxies
from services.local.addresses import Place, Plan
from services.local.controlplane import SYSTEM_NAMESPACE, TRUST_DOMAIN, ControlPlane
from services.local.identities import Issuer
from services.local.manifests import Application, Pod
from services.local.mode import Mode
from services.local.processes import Program
from services.local.rundir import RunDirectory

ADMIN_PORT, STATUS_PORT, READY_PORT, HTTP_PROXY_PORT = 15000, 15020, 15021, 15080
PROXY_USER, PROGRAM_USER = 1337, 65534
CLUSTER_DOMAIN = "cluster.local"
_TOKEN = Path("var", "run", "secrets", "tokens", "istio-token")
_PROXY_CONFIG = {"concurrency": 1, "terminationDrainDuration": "0s", "drainDuration": "2s"}


class Workloads:
    """Programs of all pods."""

    def __init__(
        self,
        run: RunDirectory,
        mode: Mode,
        plan: Plan,
        *,
        application: Application,
        control_plane: ControlPlane,
        issuer: Issuer,
    ) -> None:
        self._run = run
        self._mode = mode
        self._plan = plan
        self._application = application
        self._control_plane = control_plane
        self._issuer = issuer

    def agent(self, pod: Pod, enter: Sequence[str], on_line: Callable[[str], None]) -> Program:
        """Return the agent of a pod; its Envoy's access log comes line by line."""
        root = self._prepare(pod)
        user = _as_user(PROXY_USER) if self._mode is Mode.NAMESPACES else ()
        return Program(
            name=f"{pod.key} proxy",
            command=(*enter, *user, *programs.python("services.agent", "proxy", "sidecar")),
            environment=programs.environment(**self._agent_environment(pod)),
            log=self._run.logs / f"{pod.key}.proxy.log",
            on_line=on_line,
            cwd=root,
            user=PROXY_USER if user else 0,
        )

    def init(self, enter: Sequence[str]) -> Sequence[str]:
        """Return the command that lays the interception rules of a pod."""
        return (*enter, *programs.python("services.agent", "init"))

    @property
    def init_environment(self) -> Mapping[str, str]:
        """The environment of `init`."""
        return programs.environment()

    def program(
        self, pod: Pod, enter: Sequence[str], on_line: Callable[[str], None] | None
    ) -> Program:
        """Return the program of a pod."""
        user = _as_user(PROGRAM_USER) if self._mode is Mode.NAMESPACES else ()
        command = (*programs.python("")[:1], *pod.command[1:])
        return Program(
            name=pod.key,
            command=(*enter, *user, *(command if _is_python(pod) else pod.command)),
            environment=programs.environment(
                **pod.environment, **self._fields(pod), **self._surroundings(pod)
            ),
            log=self._run.logs / f"{pod.key}.log",
            on_line=on_line,
        )

    def described(self, pod: Pod, namespace_pid: int) -> LocalWorkload:
        """Return where a pod's processes are, for the state file."""
        place = self._plan.pods[pod.key]
        separate = self._mode is Mode.NAMESPACES
        admin = "127.0.0.1" if separate else str(place.pod)
        proxy = "" if separate else f"http://{place.outbound}:{HTTP_PROXY_PORT}"
        return LocalWorkload(
            address=str(place.pod),
            admin=f"{admin}:{ADMIN_PORT}",
            status=f"{place.pod}:{STATUS_PORT}",
            proxy=proxy,
            namespace_pid=namespace_pid,
            log=str(self._run.logs / f"{pod.key}.proxy.log"),
            names={} if separate else self._service_hosts(pod, place),
        )

    def hosts(self, pod: Pod) -> str:
        """Return /etc/hosts as the pod's namespace has it, instead of a DNS server.

        Nobody forwards virtual addresses here as kube-proxy would: a pod without a sidecar is
        given the address of a pod behind the service.
        """
        lines = ["127.0.0.1 localhost"]
        for service in self._application.services:
            address = self._plan.services[service.key]
            if address == "None" or not pod.sidecar:
                address = self._first_pod(service.key)
            if address:
                names = service.names if service.namespace == pod.namespace else service.names[1:]
                lines.append(f"{address} {' '.join(names)}")
        return "\n".join(lines) + "\n"

    def _prepare(self, pod: Pod) -> Path:
        """Make the files that the agent finds below its working directory, as in a pod."""
        root = self._run.pod(pod.key)
        token = root / _TOKEN
        token.parent.mkdir(parents=True)
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            if self._mode is Mode.NAMESPACES:
                os.chown(folder, PROXY_USER, PROXY_USER)
        self._issuer.issue(token, pod.namespace, pod.service_account, pod=pod.name)
        return root

    def _agent_environment(self, pod: Pod) -> Mapping[str, str]:
        place = self._plan.pods[pod.key]
        address = {"discoveryAddress": self._control_plane.xds_address}
        config = {**_PROXY_CONFIG, **pod.proxy, **address}
        shared = {
            **pod.proxy.get(proxies.METADATA, {}),
            "POD_NAME": pod.name,
            "POD_NAMESPACE": pod.namespace,
            "INSTANCE_IP": str(place.pod),
            "SERVICE_ACCOUNT": pod.service_account,
            "TRUST_DOMAIN": TRUST_DOMAIN,
            "CA_ADDR": self._control_plane.ca_address,
            "ISTIOD_SAN": f"istiod.{SYSTEM_NAMESPACE}.svc",
            "PROXY_CONFIG": json.dumps(config),
            "ISTIO_METAJSON_LABELS": json.dumps(dict(pod.labels)),
            "ISTIO_META_WORKLOAD_NAME": pod.name,
            "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "ISTIO_META_MESH_ID": TRUST_DOMAIN,
            "SEINE_CA_SERVER_NAME": f"seine-ca.{SYSTEM_NAMESPACE}.svc",
            "SEINE_CA_ROOT_FILE": str(self._control_plane.root_file),
        }
        if self._mode is Mode.NAMESPACES:
            return {**shared, "ISTIO_META_INTERCEPTION_MODE": "REDIRECT"}
        return {
            **shared,
            "ISTIO_META_INTERCEPTION_MODE": "NONE",
            "ISTIO_META_HTTP_PROXY_PORT": str(HTTP_PROXY_PORT),
            "ISTIO_META_SEINE_OUTBOUND_ADDRESS": str(place.outbound),
            "ISTIO_META_SEINE_APPLICATION_ADDRESS": str(place.application),
            "SEINE_LISTEN_ADDRESS": str(place.pod),
            "SEINE_ADMIN_ADDRESS": str(place.pod),
        }

    def _fields(self, pod: Pod) -> Mapping[str, str]:
        known = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "spec.serviceAccountName": pod.service_account,
            "status.podIP": str(self._plan.pods[pod.key].pod),
        }
        return {name: known.get(path, "") for name, path in pod.fields.items()}

    def _surroundings(self, pod: Pod) -> Mapping[str, str]:
        """Return what stands in for interception and DNS, where there is neither."""
        if self._mode is Mode.NAMESPACES:
            return {}
        place = self._plan.pods[pod.key]
        hosts = self._service_hosts(pod, place)
        if not pod.sidecar:
            return {"LISTEN_ADDRESS": str(place.pod), **hosts}
        proxy = f"http://{place.outbound}:{HTTP_PROXY_PORT}"
        return {"LISTEN_ADDRESS": str(place.application), "http_proxy": proxy, **hosts}

    def _service_hosts(self, pod: Pod, place: Place) -> Mapping[str, str]:
        """Return the addresses of services, in the variables that Kubernetes has for them."""
        return {
            f"{service.name.upper().replace('-', '_')}_SERVICE_HOST": (
                str(place.outbound) if pod.sidecar else self._first_pod(service.key)
            )
            for service in self._application.services
            if service.namespace == pod.namespace
        }

    def _first_pod(self, service_key: str) -> str:
        service = next(it for it in self._application.services if it.key == service_key)
        pods = (pod for pod in self._application.pods if service.selects(pod))
        first = next(pods, None)
        return str(self._plan.pods[first.key].pod) if first else ""


def _is_python(pod: Pod) -> bool:
    return pod.command[0] in {"python", "python3"}


def _as_user(number: int) -> tuple[str, ...]:
    """Return the words that run a command as a pod's user.

    The one capability that is left lets it read this checkout, wherever the user keeps it.
    """
    read = "-all,+dac_read_search"
    return (
        "setpriv",
        *(f"--reuid={number}", f"--regid={number}", "--clear-groups"),
        *(f"--inh-caps={read}", f"--ambient-caps={read}", f"--bounding-set={read}"),
        *("--pdeathsig", "KILL", "--"),
    )
