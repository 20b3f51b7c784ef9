"""A kind cluster with the mesh in it, and what tests ask of it.

pytest-kind creates and deletes the cluster, skaffold builds the images and applies the manifests:
what users run, with the same files. Images are loaded in one go, because layers that they share are
then copied once.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pytest_kind import KindCluster

ROOT = Path(__file__).parents[2]
TOOLS = ("docker", "kind", "kubectl", "skaffold")
SYSTEM = "istio-system"
KERNEL = (
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
)
T = TypeVar("T")


def missing_tools() -> list[str]:
    """Return the programs that are not on PATH; a Docker that does not answer is missing, too."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    return missing or ([] if _docker_answers() else ["a running Docker"])


def _docker_answers() -> bool:
    return subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0


class Cluster:
    """One cluster. A kubeconfig of its own keeps the user's untouched."""

    def __init__(self, name: str, folder: Path, *, image: str = "", kubeconfig: str = "") -> None:
        """Take the image of its nodes; or the kubeconfig of a cluster in which the mesh runs."""
        kind, kubectl = shutil.which("kind"), shutil.which("kubectl")
        assert kind
        assert kubectl
        self.name = name
        self._folder = folder
        own = Path(kubeconfig) if kubeconfig else None
        self._kind = KindCluster(
            name, own, image=image, kind_path=Path(kind), kubectl_path=Path(kubectl)
        )
        self.kubeconfig = self._kind.kubeconfig_path.absolute()

    def create(self) -> None:
        """Create the cluster, after deleting one of this name that an unclean end left behind."""
        self._kind.delete()
        self._kind.create()

    def delete(self) -> None:
        """Delete the cluster."""
        self._kind.delete()

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl prints.

        Raises:
            subprocess.CalledProcessError: it failed; `stderr` says why.

        """
        return self._run(["kubectl", *arguments], text)

    def refused(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl prints on standard error; it has to fail."""
        try:
            said = self.kubectl(*arguments, text=text)
        except subprocess.CalledProcessError as error:
            return str(error.stderr)
        raise AssertionError(f"kubectl was not refused: {said}")

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, or a list, as kubectl gets it."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """Return the pods of a namespace."""
        found: list[dict[str, Any]] = self.get("pods", "-n", namespace)["items"]
        return found

    def logs(self, namespace: str, target: str, container: str = "", since: float = 0) -> list[str]:
        """Return lines of a log: of the last `since` seconds, or all."""
        of = ["-c", container] if container else []
        late = [f"--since={max(1, round(since))}s"] if since else []
        return self.kubectl("logs", "-n", namespace, target, *of, *late).splitlines()

    def seinectl(self, *words: str) -> str:
        """Return what `seinectl` prints about this cluster; it fails if something is wrong."""
        words = (*words, f"--kubeconfig={self.kubeconfig}")
        return self._run([sys.executable, "-m", "services.ctl", *words], None)

    def execute(self, proxy: str, *words: str) -> str:
        """Return what a program prints that `seinectl exec` runs where a workload runs."""
        config = f"--kubeconfig={self.kubeconfig}"
        command = ["exec", config, proxy, "--", *words]
        return self._run([sys.executable, "-m", "services.ctl", *command], None)

    def build(self) -> list[str]:
        """Build all images and load them; returns their names with tags."""
        made = self._folder / "images.json"
        self._run(["skaffold", "build", *self._context, f"--file-output={made}"], None)
        images = [build["tag"] for build in json.loads(made.read_text())["builds"]]
        self._run(["kind", "load", "docker-image", f"--name={self.name}", *images], None)
        return images

    def deploy(self) -> None:
        """Apply the control plane, then the bookshop, and wait until all of it is ready."""
        made = self._folder / "images.json"
        deploy = ["skaffold", "deploy", *self._context, f"--build-artifacts={made}"]
        self._run([*deploy, "--load-images=false"], None)
        wait = ["wait", "--for=condition=Available", "--timeout=180s", "deployment", "--all"]
        for namespace in (SYSTEM, "bookshop"):
            self.kubectl(*wait, "-n", namespace)

    @property
    def _context(self) -> list[str]:
        return [f"--kube-context=kind-{self.name}"]

    def _run(self, command: list[str], text: str | None) -> str:
        with_config = ["env", f"KUBECONFIG={self.kubeconfig}", *command]
        done = subprocess.run(
            with_config, check=False, input=text, cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            raise Failed(done.returncode, command, done.stdout, done.stderr)
        return done.stdout


@contextmanager
def kernel_kept() -> Iterator[None]:
    """Give the kernel's settings back that a kubelet changes and kind leaves so."""
    before = {path: path.read_text() for path in map(Path, KERNEL)}
    try:
        yield
    finally:
        for path, value in before.items():
            with suppress(PermissionError):  # whoever may use Docker need not be root
                if path.read_text() != value:
                    path.write_text(value)


class Failed(subprocess.CalledProcessError):
    """A program failed; unlike its parent it shows what the program said."""

    def __str__(self) -> str:
        """Return the command with the end of its output."""
        said = "\n".join((self.stdout + self.stderr).splitlines()[-40:])
        return f"{super().__str__()}\n{said}"


def eventually(look: Callable[[], T], good: Callable[[T], bool], seconds: float = 60) -> T:
    """Return what `look` returns once it is good; the last of it when time is over.

    kubectl has no event for what a log says, so it is asked again.
    """
    deadline = time.monotonic() + seconds
    while not good(found := look()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def containers(pod: dict[str, Any]) -> set[str]:
    """Return the names of all containers of a pod, initial ones included."""
    spec = pod["spec"]
    return {one["name"] for part in ("initContainers", "containers") for one in spec.get(part, [])}


def named(pods: Iterable[dict[str, Any]], prefix: str) -> dict[str, Any]:
    """Return the one pod whose name begins so."""
    (found,) = (pod for pod in pods if pod["metadata"]["name"].startswith(prefix))
    return found
