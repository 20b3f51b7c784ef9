"""`seinectl workload`: WorkloadGroups, and what a machine needs to be one of theirs.

`group create` prints a group; `entry configure` asks the cluster what holds there, for roots and
for a token, and writes a folder that is brought to the machine. The token is the machine's to
begin with, so it lives a day at most: its certificate is good for the rest.
"""

import ipaddress
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from libs.api import mesh_config, mesh_layers
from libs.api.check import check_raw
from libs.api.documents import Raw
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.networking.workload_group import GroupMetadata, WorkloadGroup
from libs.api.problem import Problem, Severity
from libs.api.report import Report
from libs.api.resource import Metadata
from libs.api.validate.proxy_defaults import read_annotation
from libs.inject import config
from libs.inject.scene import Cluster
from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from services.ctl import cluster, inject, output, workload_files
from services.ctl.cluster import Api, Misused
from services.ctl.workload_files import Wishes

API_VERSION = "networking.istio.io/v1"
KIND = "WorkloadGroup"
AUDIENCE = "istio-ca"
ROOTS, ROOTS_KEY = "istio-ca-root-cert", "root-cert.pem"
TOKEN = "istio-token"  # noqa: S105  # the name of a file


class Place(Struct, frozen=True, kw_only=True):
    """What is to be configured, and where the files go."""

    file: str = ""
    """Of the group; empty: it is asked of the API server by its name."""
    name: str = ""
    namespace: str = ""
    folder: Path
    api: Api = Api()
    token_seconds: int = 3600
    cluster_id: str = ""
    """Empty: as the injector's values have it."""
    ingress_address: str = ""
    ingress_service: str = "istio-eastwestgateway"


class Found(Struct, frozen=True, kw_only=True):
    """What the cluster says."""

    group: WorkloadGroup
    mesh: MeshConfig
    cluster: Cluster
    roots: str
    token: str
    ingress: str
    odd: Sequence[str] = ()


def run_create(metadata: Metadata, spec: Mapping[str, Any]) -> int:
    """Print a WorkloadGroup, for `kubectl apply -f -`."""
    raw: Raw = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": metadata.name, "namespace": metadata.namespace},
        "spec": dict(spec),
    }
    _group(raw)
    sys.stdout.write(inject.written([raw]))
    return output.OK


def run_configure(place: Place, wishes: Wishes) -> int:
    """Write the files for a machine of a group."""
    given = _read(place) if place.file else None

    async def work(client: Client) -> Found:
        return await _asked(client, place, given=given, wishes=wishes)

    found = cluster.ask(place.api, work)
    wishes = replace(wishes, cluster=found.cluster)
    proxy = workload_files.proxy_of(found.group, found.mesh, wishes)
    texts = {
        "mesh.yaml": workload_files.mesh_yaml(proxy),
        "cluster.env": workload_files.cluster_env(found.group, proxy, wishes),
        "root-cert.pem": found.roots,
        "hosts": workload_files.hosts(found.ingress, found.cluster),
        TOKEN: found.token,
    }
    try:
        _write(place.folder, texts)
    except OSError as error:
        output.fail(f"{error.filename}: {error.strerror}")
    for text in found.odd:
        sys.stderr.write(f"seinectl: {text}\n")
    output.say(f"[green]✓[/] {output.clean(str(place.folder))}: {', '.join(texts)}")
    output.say(f"  {TOKEN} proves who the machine is for {place.token_seconds} s: keep it secret")
    return output.OK


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Return what `a=b,c=d` says, several times if need be, or end the command."""
    found = {}
    for word in filter(None, ",".join(words).split(",")):
        name, equals, value = word.partition("=")
        if not name or not equals:
            output.fail(f"{word!r} is not NAME=VALUE")
        found[name] = value
    return found


def ports(words: Sequence[str]) -> dict[str, int]:
    """Return what `http=8080,grpc=3550` says, or end the command."""
    found = {}
    for name, text in pairs(words).items():
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            output.fail(f"{name}={text}: {text!r} is no port")
        found[name] = int(text)
    return found


async def _asked(
    client: Client, place: Place, *, given: WorkloadGroup | None, wishes: Wishes
) -> Found:
    """Ask for everything; the token last, because nobody takes it back."""
    system, revision = wishes.cluster.system_namespace, wishes.cluster.revision
    group = given or await _stored(client, place.namespace, place.name)
    namespace = group.metadata.namespace
    odd = [] if given is None else await _odd(client, given)
    mesh = _mesh(await _config_map(client, system, mesh_layers.config_map_name(revision)))
    roots = (await _config_map(client, namespace, ROOTS)).data.get(ROOTS_KEY, "")
    if not roots:
        text = f"namespace {namespace} has no ConfigMap {ROOTS}"
        raise Misused(text, "the control plane makes it: is it running, and is this its cluster?")
    name = place.cluster_id or await _cluster_name(client, system, revision)
    ingress = place.ingress_address or await _ingress(client, place.ingress_service, system)
    if not ingress:
        odd.append(
            f"no address of {place.ingress_service} was found: the file hosts is empty; "
            "say --ingressIP, or let the machine find the control plane by DNS"
        )
    return Found(
        group=group,
        mesh=mesh,
        cluster=replace(wishes.cluster, cluster_id=name or wishes.cluster.cluster_id),
        roots=roots,
        token=await _token(client, group, place.token_seconds),
        ingress=ingress,
        odd=odd,
    )


def _read(place: Place) -> WorkloadGroup:
    raws = [one.raw for one in inject.read([place.file]) if one.raw is not None]
    groups = [raw for raw in raws if raw.get("kind") == KIND]
    if len(groups) != 1:
        output.fail(f"{place.file}: has {len(groups)} WorkloadGroups, and should have one")
    group = _group(groups[0])
    namespace = group.metadata.namespace or place.namespace or "default"
    if place.namespace and namespace != place.namespace:
        output.fail(f"{place.file}: is of namespace {namespace}, not of {place.namespace}")
    return replace(group, metadata=replace(group.metadata, namespace=namespace))


def _group(raw: Raw) -> WorkloadGroup:
    """Return a group that is good, with its annotations, or end the command."""
    found, problems = check_raw(raw)
    if isinstance(found, WorkloadGroup):
        said = found.spec.metadata or GroupMetadata()
        for annotations in (found.metadata.annotations, said.annotations):
            report = Report(found.ref)
            read_annotation(annotations, report)
            problems += report.problems
    wrong = [it for it in problems if it.severity is Severity.ERROR]
    if wrong or not isinstance(found, WorkloadGroup):
        output.fail("this WorkloadGroup cannot be used", hint=_lines(wrong))
    return found


async def _stored(client: Client, namespace: str, name: str) -> WorkloadGroup:
    try:
        return _group(await client.get(_path(namespace, name)))
    except NotFoundError as error:
        text = f"there is no WorkloadGroup {name} in namespace {namespace}"
        raise Misused(text, "seinectl workload group create makes one") from error


async def _odd(client: Client, given: WorkloadGroup) -> list[str]:
    """Return what speaks against a group that is only in a file."""
    metadata = given.metadata
    try:
        stored: Any = await client.get(_path(metadata.namespace, metadata.name))
    except NotFoundError:
        return [f"{given.ref} is not in the cluster: the token counts once it is applied"]
    template = stored["spec"].get("template") or {}
    account = template.get("serviceAccount") or workload_files.DEFAULT_ACCOUNT
    if account != (own := workload_files.account_of(given)):
        return [f"{given.ref} is for the account {account} in the cluster, not for {own}"]
    return []


def _path(namespace: str, name: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/workloadgroups/{name}"


async def _config_map(client: Client, namespace: str, name: str) -> ConfigMap:
    """Return a ConfigMap, empty if it is not there: what holds then is decided by who reads it."""
    try:
        found: Any = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    except NotFoundError:
        found = {}
    return ConfigMap(Metadata(name=name, namespace=namespace), found.get("data") or {})


def _mesh(resource: ConfigMap) -> MeshConfig:
    found, problems = mesh_config.read(resource)
    if found is None:
        raise Misused(f"{resource.ref} cannot be used", _lines(problems))
    return found


async def _cluster_name(client: Client, system: str, revision: str) -> str:
    resource = await _config_map(client, system, config.config_map_name(revision))
    return config.read(resource)[0].values.global_.multi_cluster.cluster_name


async def _ingress(client: Client, service: str, system: str) -> str:
    """Return where the gateway of the control plane can be reached; empty if nobody says."""
    name, _, namespace = service.partition(".")
    path = f"/api/v1/namespaces/{namespace or system}/services/{name}"
    try:
        found: Any = await client.get(path)
    except NotFoundError:
        return ""
    balanced = (found.get("status") or {}).get("loadBalancer") or {}
    addresses = [one.get("ip") or "" for one in balanced.get("ingress") or ()]
    return next(filter(is_address, [*addresses, *(found["spec"].get("externalIPs") or ())]), "")


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _token(client: Client, group: WorkloadGroup, seconds: int) -> str:
    namespace, account = group.metadata.namespace, workload_files.account_of(group)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    spec = {"audiences": [AUDIENCE], "expirationSeconds": seconds}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    try:
        answer: Any = await client.request("POST", path, body=body)
    except NotFoundError as error:
        text = f"there is no service account {account} in namespace {namespace}"
        hint = f"kubectl create serviceaccount {account} -n {namespace}"
        raise Misused(text, hint) from error
    return str(answer["status"]["token"])


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / name
        if name == TOKEN:
            path.unlink(missing_ok=True)  # also one that others may read by now
            path.touch(mode=0o600)
        path.write_text(text)


def _lines(problems: Sequence[Problem]) -> str:
    return "\n".join(f"{it.path}: {it.text}" for it in problems)
