"""The command line's shape: commands, options and help. What a command does is in its own module.

Modules are imported when their command is called, so that `validate` does not wait for gRPC.
"""

from pathlib import Path
from typing import Annotated

import typer

from services.ctl.output import Format

app = typer.Typer(
    name="seinectl",
    help="Look into a Seine mesh: what is wrong, what proxies know, what became of a change.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Output = Annotated[Format, typer.Option("-o", "--output", help="Table for people, or JSON.")]
Mesh = Annotated[
    Path | None, typer.Option("--mesh", help="State file of the mesh (default: found upwards).")
]
Proxy = Annotated[str, typer.Argument(help="The proxy, as POD.NAMESPACE.")]


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
def problems(mesh: Mesh = None, output: Output = Format.TABLE) -> None:
    """Show what is wrong with the configuration of the running mesh."""
    from services.ctl import problems as command  # noqa: PLC0415

    raise typer.Exit(command.run(mesh, output))
