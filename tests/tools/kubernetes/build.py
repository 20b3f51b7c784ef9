"""Builds etcd, kube-apiserver and kubectl from Go modules, for tests that want a real API server.

`make tools` runs this; tests only use what is there, and say why they are skipped when nothing is.
The binaries lie outside of the tree, in a folder named after their versions, so that a new version
never meets an old binary. A first build takes four minutes, a repeated one nothing.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
_REQUIRED = re.compile(r"(?m)^\s*(go\.etcd\.io/etcd/server/v3|k8s\.io/kubernetes) (v[\w.-]+)$")


def find(name: str) -> Path | None:
    """Return a binary: of KUBEBUILDER_ASSETS, else on PATH, else built here; None without any."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")  # noqa: TID251 - the name other projects use
    places = [Path(assets) / name] if assets else []
    if on_path := shutil.which(name):
        places.append(Path(on_path))
    places.append(folder() / name)
    return next((place for place in places if os.access(place, os.X_OK)), None)


def folder() -> Path:
    """Return where the binaries of the versions in go.mod are built."""
    found = versions()
    key = f"kubernetes-{found['k8s.io/kubernetes']}-etcd-{found['go.etcd.io/etcd/server/v3']}"
    return cache() / key


def cache() -> Path:
    """Return the folder of everything that is built for tests, one folder a version."""
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # noqa: TID251
    return Path(own) / "seine" / "tools"


def versions() -> dict[str, str]:
    """Return the version of each module that has a command."""
    return dict(_REQUIRED.findall((HERE / "go.mod").read_text()))


def _build(name: str) -> None:
    target = folder() / name
    version = versions()["k8s.io/kubernetes"]
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamp = "k8s.io/component-base/version.git"
    flags = f"-s -w -X {stamp}Version={version} -X {stamp}Major={major} -X {stamp}Minor={minor}"
    fresh = target.with_suffix(".new")
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", fresh, PACKAGES[name]],
        cwd=HERE,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},  # noqa: TID251
        check=True,
    )
    fresh.rename(target)


def main() -> int:
    """Build what is missing; return the exit status."""
    missing = [name for name in PACKAGES if find(name) is None]
    if missing and not shutil.which("go"):
        sys.stderr.write(f"{' and '.join(missing)} are missing, and so is Go to build them\n")
        return 1
    folder().mkdir(parents=True, exist_ok=True)
    for name in missing:
        sys.stdout.write(f"building {name} into {folder()}\n")
        sys.stdout.flush()
        _build(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
