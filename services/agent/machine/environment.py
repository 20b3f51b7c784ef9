"""Environment: what `agent proxy` and `agent init` are told on a machine, from the files brought.

The files are those of `seinectl workload entry configure`, or of Istio's: `cluster.env` has
variables as a shell takes them, `mesh.yaml` the proxy's settings, `istio-token` and `root-cert.pem`
what machine and control plane believe each other by. In a pod injection writes the same variables.
What the process's own environment says, wins.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

MAX_FILE_BYTES = 256 * 1024
_DISCOVERY = "istiod.istio-system.svc:15012"


class BroughtError(Exception):
    """The files do not make an agent; the message says which, and what is wrong."""


class Places(Struct, frozen=True):
    """Where the files lie, and where the agent keeps what it gets."""

    variables: Path
    mesh: Path
    token: Path
    roots: Path
    kept: Path
    """Folder of the machine's certificate."""


def in_folder(folder: Path) -> Places:
    """Return the places of files that lie together as they were made; the rest is relative."""
    return Places(
        variables=folder / "cluster.env",
        mesh=folder / "mesh.yaml",
        token=folder / "istio-token",
        roots=folder / "root-cert.pem",
        kept=Path("certs"),
    )


ISTIO = Places(
    variables=Path("/var/lib/istio/envoy/cluster.env"),
    mesh=Path("/etc/istio/config/mesh"),
    token=Path("/var/run/secrets/tokens/istio-token"),
    roots=Path("/etc/certs/root-cert.pem"),
    kept=Path("/etc/certs"),
)
"""Where Istio's documents have them copied."""


class Host(Struct, frozen=True):
    """What the machine says of itself."""

    name: str
    address: str


def environment(
    places: Places, brought: Mapping[str, str], proxy: Mapping[str, Any], *, host: Host
) -> dict[str, str]:
    """Return the agent's variables.

    Args:
        places: where the files lie.
        brought: `cluster.env`, as `variables` reads it.
        proxy: the `defaultConfig` of `mesh.yaml`, as `proxy_config` reads it.
        host: the machine, as far as the files do not name it.

    """
    own = {
        "POD_NAME": host.name,
        "POD_NAMESPACE": brought.get("ISTIO_NAMESPACE", "default"),
        "INSTANCE_IP": brought.get("ISTIO_SVC_IP") or host.address,
        "PROXY_CONFIG": json.dumps(proxy, separators=(",", ":"), sort_keys=True),
        "SEINE_TOKEN_FILE": str(places.token),
        "SEINE_CA_ROOT_FILE": str(places.kept / "root-cert.pem"),
        "PROV_CERT": str(places.kept),
        "OUTPUT_CERTS": str(places.kept),
    }
    return own | dict(brought)


def discovery_host(proxy: Mapping[str, Any]) -> str:
    """Return the name or address of the control plane."""
    address = str(proxy.get("discoveryAddress") or _DISCOVERY)
    return address.rpartition(":")[0].strip("[]")


def variables(path: Path) -> dict[str, str]:
    """Return the variables in `cluster.env`; those that it has empty say nothing, as in Istio.

    Raises:
        BroughtError: it cannot be read, or a line is no `NAME=value` as a shell takes it.

    """
    found = {}
    try:
        words = shlex.split(_text(path), comments=True)
    except ValueError as error:
        message = f"{path}: {error}"
        raise BroughtError(message) from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            message = f"{path}: not a variable: {word[:80]!r}"
            raise BroughtError(message)
        if value:
            found[name] = value
    return found


def proxy_config(path: Path) -> dict[str, Any]:
    """Return the proxy's settings in `mesh.yaml`; its variables are in `cluster.env` already.

    Raises:
        BroughtError: it cannot be read, or is no MeshConfig.

    """
    try:
        # Python's own parser: libyaml's can be made to crash. The file is the machine's own.
        found = yaml.load(_text(path), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        message = f"{path}: not YAML: {error}"
        raise BroughtError(message) from error
    proxy = found.get("defaultConfig") if isinstance(found, dict) else None
    if not isinstance(proxy, dict):
        message = f"{path}: has no defaultConfig"
        raise BroughtError(message)
    return proxy


def _text(path: Path) -> str:
    try:
        text = path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise BroughtError(message) from error
    if len(text) > MAX_FILE_BYTES:
        message = f"{path}: longer than {MAX_FILE_BYTES} bytes"
        raise BroughtError(message)
    return text.decode("utf-8", "replace")
