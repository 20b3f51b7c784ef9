"""The shape of `seinectl tag`: what it may be called with."""

from typing import TYPE_CHECKING, Annotated

import typer

from services.ctl.options import Context, OfCluster
from services.ctl.output import Format

if TYPE_CHECKING:
    from libs.inject.tags import Tag
    from services.ctl.cluster import Api

app = typer.Typer(
    help="Other names for a revision, under which namespaces ask for it.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="TAG", help="The tag.")]
Revision = Annotated[str, typer.Option("-r", "--revision", help="What it stands for.")]
Namespace = Annotated[
    str, typer.Option("-i", "--istio-namespace", "--istioNamespace", help="The control plane's.")
]
ByDefault = Annotated[
    bool, typer.Option("--auto-inject-namespaces", help="Namespaces that say nothing, too.")
]


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917 - typer passes them by name
    name: Name,
    revision: Revision,
    overwrite: Annotated[bool, typer.Option(help="Also if there is such a tag.")] = False,
    namespaces_by_default: ByDefault = False,
    yes: Annotated[
        bool,
        typer.Option("-y", "--yes", "--skip-confirmation", help="Also if nobody answers for it."),
    ] = False,
    namespace: Namespace = "istio-system",
    kubeconfig: OfCluster = "",
    context: Context = "",
) -> None:
    """Have a tag stand for a revision."""
    from services.ctl import tag as command  # noqa: PLC0415

    wanted = _tag(name, revision, namespace, by_default=namespaces_by_default)
    api = _api(kubeconfig, context)
    raise typer.Exit(command.run_set(wanted, api, overwrite=overwrite, force=yes))


@app.command()
def generate(  # noqa: PLR0917 - typer passes them by name
    name: Name,
    revision: Revision,
    namespaces_by_default: ByDefault = False,
    namespace: Namespace = "istio-system",
    kubeconfig: OfCluster = "",
    context: Context = "",
) -> None:
    """Print what makes a tag, to be kept and applied with other manifests."""
    from services.ctl import tag as command  # noqa: PLC0415

    wanted = _tag(name, revision, namespace, by_default=namespaces_by_default)
    raise typer.Exit(command.run_generate(wanted, _api(kubeconfig, context)))


@app.command("list")
def list_(
    output: Annotated[
        Format, typer.Option("-o", "--output", help="Table for people, or JSON.")
    ] = Format.TABLE,
    kubeconfig: OfCluster = "",
    context: Context = "",
) -> None:
    """Show tags, their revisions, who asks for them, and whether anybody answers; 1 if not."""
    from services.ctl import tag as command  # noqa: PLC0415

    raise typer.Exit(command.run_list(_api(kubeconfig, context), form=output))


@app.command()
def remove(  # noqa: PLR0917 - typer passes them by name
    name: Name,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", "--skip-confirmation", help="Also if it is asked for.")
    ] = False,
    namespace: Namespace = "istio-system",
    kubeconfig: OfCluster = "",
    context: Context = "",
) -> None:
    """Take a tag away."""
    from services.ctl import tag as command  # noqa: PLC0415

    api = _api(kubeconfig, context)
    raise typer.Exit(command.run_remove(name, api, namespace=namespace, force=yes))


def _api(kubeconfig: str, context: str) -> "Api":
    from services.ctl.cluster import Api  # noqa: PLC0415

    return Api(kubeconfig, context)


def _tag(name: str, revision: str, namespace: str, *, by_default: bool) -> "Tag":
    from libs.inject.tags import Tag  # noqa: PLC0415

    return Tag(
        name=name,
        revision=revision,
        client={},
        system_namespace=namespace,
        namespaces_by_default=by_default,
    )
