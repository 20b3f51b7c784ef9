"""A second control plane in a test's cluster, made as `make revision` makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.kind_cluster import SYSTEM, Cluster, Failed, eventually
from tests.tools import revision as overlay

_AVAILABLE = ("wait", "--for=condition=Available", "--timeout=300s", "deployment", "-n", SYSTEM)
_AGENT = "SEINE_PROXY_IMAGE"


@contextmanager
def installed(cluster: Cluster, name: str, folder: Path) -> Iterator[None]:
    """Have a revision beside the default one, of the same images; it is gone at the end."""
    folder.mkdir(exist_ok=True)
    for path, text in overlay.files(name).items():
        (folder / Path(path).name).write_text(text)
    _with_images(folder / "kustomization.yaml", _running(cluster))
    try:
        cluster.kubectl("apply", "-k", str(folder))
        cluster.kubectl(*_AVAILABLE, "-l", f"istio.io/rev={name}")
        refused = eventually(lambda: _refused(cluster, name), lambda reason: not reason)
        assert not refused, refused
        yield
    finally:
        cluster.kubectl("delete", "-k", str(folder), "--ignore-not-found")


def _refused(cluster: Cluster, name: str) -> str:
    """Return why a pod of the revision would be refused; nothing if it would be made.

    A Deployment is available before every node leads the webhook's address to its pods. Whoever
    makes a pod in between is refused, and asks again.
    """
    pod = ("run", "probe", "--image=none", "--restart=Never", "-n", "default")
    try:
        cluster.kubectl(*pod, f"--labels=istio.io/rev={name}", "--dry-run=server")
    except Failed as error:
        return str(error)
    return ""


def _running(cluster: Cluster) -> set[str]:
    """Return the images that the default revision runs, the agent's included."""
    found = set()
    for one in cluster.get("deployments", "-n", SYSTEM)["items"]:
        container = one["spec"]["template"]["spec"]["containers"][0]
        found.add(container["image"])
        found |= {it["value"] for it in container.get("env", ()) if it["name"] == _AGENT}
    return found


def _with_images(path: Path, images: set[str]) -> None:
    """Say which images, as `kustomize edit set image` does."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    document["images"] = [
        {"name": image.rpartition(":")[0], "newTag": image.rpartition(":")[2]} for image in images
    ]
    path.write_text(yaml.safe_dump(document))
