"""Options: those that several commands have, so that they are called the same everywhere."""

from typing import Annotated

import typer

Kubeconfig = Annotated[
    str,
    typer.Option("-c", "--kubeconfig", envvar="KUBECONFIG", help="Ask the mesh of a cluster."),
]
"""Of commands that may also ask a mesh on this machine."""
OfCluster = Annotated[
    str,
    typer.Option(
        "-c", "--kubeconfig", envvar="KUBECONFIG", help="The cluster (default: ~/.kube/config)."
    ),
]
"""Of commands that need a cluster."""
Context = Annotated[str, typer.Option("--context", help="Of the kubeconfig (default: current).")]
