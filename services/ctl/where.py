"""Where: which mesh a command asks: the one on this machine, or one in a cluster.

`--mesh` means the one on this machine, `--kubeconfig` and `--context` mean a cluster. If neither is
said, a mesh that runs here comes first, and a kubeconfig only says where the cluster is; if both
could be meant, a line on standard error says which one was asked.
"""

from pathlib import Path

from msgspec import Struct

from libs.runtime import localmesh
from libs.runtime.localmesh import LocalMesh, NoMeshError
from services.ctl import mesh, output
from services.ctl.check_inject import DEFAULT_KUBECONFIG


class Cluster(Struct, frozen=True, kw_only=True):
    """A cluster that has a control plane."""

    kubeconfig: str
    context: str
    system_namespace: str


class Where(Struct, frozen=True, kw_only=True):
    """What the user said about the mesh that is meant."""

    mesh: Path | None = None
    kubeconfig: str = ""
    """Of an option, or of the environment."""
    context: str = ""
    in_cluster: bool = False
    """Whether an option says that a cluster is meant."""
    system_namespace: str = "istio-system"
    namespace: str = ""
    """Of proxies and resources; empty: all."""


def find(where: Where) -> LocalMesh | Cluster:
    """Return the mesh that is meant, or end the command and say what there could be."""
    if where.mesh and where.in_cluster:
        output.fail("--mesh means this machine, --kubeconfig and --context mean a cluster: say one")
    kubeconfig = where.kubeconfig or _default()
    cluster = Cluster(
        kubeconfig=kubeconfig or str(DEFAULT_KUBECONFIG.expanduser()),
        context=where.context,
        system_namespace=where.system_namespace,
    )
    if where.in_cluster:
        return cluster
    if where.mesh or not kubeconfig:
        return mesh.find(where.mesh)
    return _here(kubeconfig) or cluster


def _here(kubeconfig: str) -> LocalMesh | None:
    """Return the mesh on this machine, if one runs, and say who is asked if that is a question."""
    state = localmesh.find(Path.cwd())
    if state is None:
        return None
    try:
        found = localmesh.load(state)
    except NoMeshError as error:
        output.note(f"{error}: asking the cluster of {kubeconfig}")
        return None
    output.note(f"asking the mesh on this machine; --kubeconfig {kubeconfig} asks the cluster")
    return found


def _default() -> str:
    path = DEFAULT_KUBECONFIG.expanduser()
    return str(path) if path.is_file() else ""
