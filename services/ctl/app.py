"""The command line's shape: commands, options and help. What a command does is in its own module.

Modules are imported when their command is called, so that `validate` does not wait for gRPC.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.ctl import tag_commands, workload_commands
from services.ctl.options import Context, Kubeconfig, OfCluster
from services.ctl.output import Format

if TYPE_CHECKING:
    from services.ctl.where import Where

app = typer.Typer(
    name="seinectl",
    help="Look into a Seine mesh: what is wrong, what proxies know, what became of a change.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(tag_commands.app, name="tag")
app.add_typer(workload_commands.app, name="workload")

Output = Annotated[Format, typer.Option("-o", "--output", help="Table for people, or JSON.")]
Mesh = Annotated[
    Path | None, typer.Option("--mesh", help="State file of the mesh (default: found upwards).")
]
Proxy = Annotated[str, typer.Argument(help="The proxy, as POD.NAMESPACE.")]
System = Annotated[
    str,
    typer.Option("-i", "--istio-namespace", "--istioNamespace", help="Of the control plane."),
]
Namespace = Annotated[
    str, typer.Option("-n", "--namespace", help="Of proxies and resources (default: all).")
]
_SYSTEM = "istio-system"


def _where(  # noqa: PLR0917 - what the options are
    context: typer.Context,
    mesh: Path | None,
    kubeconfig: str,
    kube_context: str,
    system: str,
    namespace: str,
) -> "Where":
    """Return which mesh is meant; a variable of the environment alone means no cluster."""
    from services.ctl.where import Where  # noqa: PLC0415

    source = context.get_parameter_source("kubeconfig")
    return Where(
        mesh=mesh,
        kubeconfig=kubeconfig,
        context=kube_context,
        in_cluster=bool(kube_context) or (source is not None and source.name == "COMMANDLINE"),
        system_namespace=system,
        namespace=namespace,
    )


@app.command()
def validate(
    file: Annotated[
        list[str] | None,
        typer.Option("-f", "--filename", help="File or folder of manifests; - for standard input."),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="More files.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Judge manifests without a mesh; exit 1 if there is an error."""
    from services.ctl import validate as command  # noqa: PLC0415
    from services.ctl.output import fail  # noqa: PLC0415

    paths = [*(file or ()), *(more or ())]
    if not paths:
        fail("nothing to validate", hint="seinectl validate -f FILE|FOLDER|-")
    raise typer.Exit(command.run(paths, output))


@app.command()
def analyze(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    file: Annotated[
        list[str] | None,
        typer.Option("-f", "--filename", help="File or folder of manifests; - for standard input."),
    ] = None,
    suppress: Annotated[
        list[str] | None,
        typer.Option("-S", "--suppress", metavar="CODE=KIND NS/NAME", help="Leave these out."),
    ] = None,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
    output: Output = Format.TABLE,
) -> None:
    """Say all that is wrong with manifests together, or with the running mesh, by Istio's codes."""
    from services.ctl import analyze as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(command.run(file or (), suppress or (), where=where, form=output))


@app.command()
def check(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
    output: Output = Format.TABLE,
) -> None:
    """Look whether the mesh is well; say what is wrong and what to do."""
    from services.ctl import check as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(command.run(where, output))


@app.command("proxy-status")
def proxy_status(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
    output: Output = Format.TABLE,
) -> None:
    """Show whether each proxy has what it should: SYNCED, STALE, NOT SENT or ERROR."""
    from services.ctl import status as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(command.run(where, output))


@app.command("proxy-config")
def proxy_config(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="cluster, listener, route, endpoint or secret.")],
    proxy: Proxy,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
    output: Output = Format.TABLE,
) -> None:
    """Show what a proxy was told, and which resource each piece came from."""
    from services.ctl import proxy_config as command  # noqa: PLC0415
    from services.ctl.output import fail  # noqa: PLC0415

    try:
        wanted = command.Kind(kind)
    except ValueError:
        fail(f"{kind!r} is none of {', '.join(command.Kind)}")
    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(command.run(where, wanted, proxy, form=output))


@app.command()
def receipts(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(help="Only changes of this KIND/NAMESPACE/NAME.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print each as it settles.")] = False,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    output: Output = Format.TABLE,
) -> None:
    """Show what became of changes: sent, acknowledged, rejected, milliseconds."""
    from services.ctl import receipts as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, "")
    raise typer.Exit(command.run(where, ref, output, watch=watch))


@app.command()
def problems(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
    output: Output = Format.TABLE,
) -> None:
    """Show what is wrong with the configuration that the mesh was given."""
    from services.ctl import problems as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(command.run(where, output))


@app.command()
def inject(  # noqa: PLR0913, PLR0917 - typer passes them by name
    file: Annotated[
        list[str],
        typer.Option("-f", "--filename", help="File or folder of manifests; - for standard input."),
    ],
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", help="Of manifests that name none.")
    ] = "default",
    mesh_config_file: Annotated[
        str, typer.Option("--mesh-config-file", "--meshConfigFile", help="MeshConfig, as YAML.")
    ] = "",
    inject_config_file: Annotated[
        str, typer.Option("--inject-config-file", "--injectConfigFile", help="The injector's.")
    ] = "",
    values_file: Annotated[
        str, typer.Option("--values-file", "--valuesFile", help="The injector's values.")
    ] = "",
    revision: Annotated[str, typer.Option("-r", "--revision", help="Control plane.")] = "default",
    system_namespace: Annotated[
        str, typer.Option("-i", "--istio-namespace", "--istioNamespace", help="Its namespace.")
    ] = "istio-system",
    image: Annotated[str, typer.Option(help="Image of the proxy.")] = "seine-agent",
    native_sidecars: Annotated[
        bool, typer.Option(help="Proxies are init containers that stay (Kubernetes 1.33).")
    ] = True,
) -> None:
    """Print manifests with a proxy in the pods that they make."""
    from libs.inject.scene import Cluster  # noqa: PLC0415
    from services.ctl import inject as command  # noqa: PLC0415

    cluster = Cluster(
        revision=revision,
        system_namespace=system_namespace,
        proxy_image=image,
        native_sidecars=native_sidecars,
    )
    options = command.Options(
        namespace=namespace,
        mesh_file=mesh_config_file,
        config_file=inject_config_file,
        values_file=values_file,
        cluster=cluster,
    )
    raise typer.Exit(command.run(file, options))


@app.command("check-inject")
def check_inject(  # noqa: PLR0917 - typer passes them by name
    name: Annotated[
        str, typer.Argument(metavar="[[KIND/]NAME[.NAMESPACE]]", help="In the cluster.")
    ] = "",
    file: Annotated[
        list[str] | None,
        typer.Option("-f", "--filename", help="File or folder of manifests; - for standard input."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", help="Of manifests that name none.")
    ] = "default",
    kubeconfig: OfCluster = "",
    context: Context = "",
    output: Output = Format.TABLE,
) -> None:
    """Say whether a pod gets a proxy, and which rule decides."""
    from services.ctl import check_inject as command  # noqa: PLC0415
    from services.ctl.output import fail  # noqa: PLC0415

    if bool(name) is bool(file):
        fail("name a pod, or give manifests", hint="seinectl check-inject POD.NAMESPACE | -f FILE")
    if file:
        raise typer.Exit(command.run_files(file, namespace, output))
    raise typer.Exit(command.run_cluster(name, kubeconfig, context, form=output))


@app.command()
def wait(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    resource: Annotated[str, typer.Argument(metavar="KIND/NAME", help="Or KIND/NAMESPACE/NAME.")],
    namespace: Annotated[str, typer.Option("-n", "--namespace")] = "default",
    timeout: Annotated[float, typer.Option(help="Seconds.", min=0.1)] = 60.0,
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Return when the last proxy has acknowledged a resource, or when one refuses it."""
    from services.ctl import wait as command  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, _SYSTEM, "")
    raise typer.Exit(command.run(resource, namespace, where=where, seconds=timeout))


@app.command()
def render(
    file: Annotated[
        list[str],
        typer.Option("-f", "--filename", help="File or folder of manifests; - for standard input."),
    ],
    proxy: Annotated[str, typer.Option("--proxy", help="The proxy, as POD.NAMESPACE.")],
    output: Output = Format.JSON,
) -> None:
    """Print the Envoy configuration of a proxy, made from manifests without a mesh."""
    from services.ctl import rendering as command  # noqa: PLC0415

    raise typer.Exit(command.run(file, proxy, output))


@app.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
def exec_inside(  # noqa: PLR0913, PLR0917 - typer passes them by name
    ctx: typer.Context,
    proxy: Proxy,
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    mesh: Mesh = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    system: System = _SYSTEM,
    namespace: Namespace = "",
) -> None:
    """Run a command where a workload runs: its calls go through that workload's proxy."""
    from services.ctl import inside  # noqa: PLC0415

    where = _where(ctx, mesh, kubeconfig, context, system, namespace)
    raise typer.Exit(inside.run(where, proxy, command))
