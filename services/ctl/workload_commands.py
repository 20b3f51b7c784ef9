"""The shape of `seinectl workload`: what it may be called with, as `istioctl x workload`."""

from pathlib import Path
from typing import Annotated

import typer

from services.ctl.options import Context, OfCluster
from services.ctl.output import fail

app = typer.Typer(help="Machines outside the cluster.", no_args_is_help=True)
group = typer.Typer(help="WorkloadGroups, which machines belong to.", no_args_is_help=True)
entry = typer.Typer(help="Machines of a WorkloadGroup.", no_args_is_help=True)
app.add_typer(group, name="group")
app.add_typer(entry, name="entry")

Pairs = list[str] | None
# Of a token: the API server gives none that lives shorter, and nobody can take one back.
_SHORTEST, _LONGEST = 600, 24 * 3600


@group.command()
def create(  # noqa: PLR0917 - typer passes them by name
    name: Annotated[str, typer.Option(help="The group.")],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Of the group.")],
    labels: Annotated[Pairs, typer.Option("-l", "--labels", help="env=prod,vers=2")] = None,
    annotations: Annotated[
        Pairs, typer.Option("-a", "--annotations", help="Of the machines' entries.")
    ] = None,
    ports: Annotated[Pairs, typer.Option("-p", "--ports", help="grpc=3550,http=8080")] = None,
    account: Annotated[
        str, typer.Option("-s", "--serviceAccount", help="Who the machines are.")
    ] = "default",
) -> None:
    """Print a WorkloadGroup, for `kubectl apply -f -`."""
    from libs.api.resource import Metadata  # noqa: PLC0415
    from services.ctl import workload as command  # noqa: PLC0415

    metadata = {
        "labels": command.pairs(labels or ()),
        "annotations": command.pairs(annotations or ()),
    }
    template = {"ports": command.ports(ports or ()), "serviceAccount": account}
    spec = {
        "metadata": {key: value for key, value in metadata.items() if value},
        "template": {key: value for key, value in template.items() if value},
    }
    raise typer.Exit(command.run_create(Metadata(name=name, namespace=namespace), spec))


@entry.command()
def configure(  # noqa: PLR0913, PLR0917 - typer passes them by name
    folder: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")],
    file: Annotated[str, typer.Option("-f", "--file", help="The WorkloadGroup's manifest.")] = "",
    name: Annotated[str, typer.Option(help="The group, if it is in the cluster.")] = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Of the group.")] = "",
    cluster_id: Annotated[
        str, typer.Option("--clusterID", help="Default: as the injector's values have it.")
    ] = "",
    token_seconds: Annotated[
        int,
        typer.Option(
            "--tokenDuration", min=_SHORTEST, max=_LONGEST, help="Seconds that the token lives."
        ),
    ] = 3600,
    ingress_service: Annotated[
        str,
        typer.Option("--ingressService", help="Service NAME[.NAMESPACE] before the control plane."),
    ] = "istio-eastwestgateway",
    ingress_address: Annotated[
        str, typer.Option("--ingressIP", help="Where the machine finds the control plane.")
    ] = "",
    autoregister: Annotated[
        bool, typer.Option("--autoregister", help="The machine gets its WorkloadEntry by itself.")
    ] = False,
    capture_dns: Annotated[
        bool,
        typer.Option(
            "--capture-dns/--no-capture-dns", help="The agent answers the machine's DNS queries."
        ),
    ] = True,
    internal_address: Annotated[
        str, typer.Option("--internalIP", help="The machine's address, if it has several.")
    ] = "",
    external_address: Annotated[
        str, typer.Option("--externalIP", help="The machine's address, as others see it.")
    ] = "",
    revision: Annotated[str, typer.Option("-r", "--revision", help="Control plane.")] = "default",
    system_namespace: Annotated[
        str, typer.Option("-i", "--istio-namespace", "--istioNamespace", help="Its namespace.")
    ] = "istio-system",
    kubeconfig: OfCluster = "",
    context: Context = "",
) -> None:
    """Write what a machine of a group needs: cluster.env, mesh.yaml, a token, roots, hosts."""
    from libs.inject.scene import Cluster  # noqa: PLC0415
    from services.ctl import workload as command  # noqa: PLC0415
    from services.ctl.cluster import Api  # noqa: PLC0415
    from services.ctl.workload_files import Wishes  # noqa: PLC0415

    if not file and not (name and namespace):
        fail("name a WorkloadGroup", hint="-f FILE, or --name NAME --namespace NAMESPACE")
    if ingress_address and not command.is_address(ingress_address):
        fail(f"--ingressIP: {ingress_address!r} is no address")
    if internal_address and external_address:
        fail("--internalIP and --externalIP exclude each other")
    place = command.Place(
        file=file,
        name=name,
        namespace=namespace,
        folder=folder,
        api=Api(kubeconfig, context),
        token_seconds=token_seconds,
        cluster_id=cluster_id,
        ingress_address=ingress_address,
        ingress_service=ingress_service,
    )
    wishes = Wishes(
        cluster=Cluster(revision=revision, system_namespace=system_namespace),
        autoregister=autoregister,
        capture_dns=capture_dns,
        internal_address=internal_address,
        external_address=external_address,
    )
    raise typer.Exit(command.run_configure(place, wishes))
