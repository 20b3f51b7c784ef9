"""Judge: whether Envoy takes an extension, asked before the proxy gets it.

An extension that Envoy refuses freezes every listener that has it, and one that never comes to an
end when it is loaded stops the proxy itself. So a second Envoy tries each in a listener of its own,
with the variables and the node of the proxy. All that came together are tried together first, and
one by one only if that fails.

What cannot be known counts as right, as without a judge: modules of more than MAX_MODULE bytes,
whose compilation would cost too much; all, while memory is short; and modules that fail at their
start and may call services, because there are none here. The last REMEMBERED answers are kept; one
that is forgotten is asked for again.
"""

import hashlib
import logging
import math
import re
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any as Json

from google.protobuf.any_pb2 import Any
from msgspec import Struct

from libs.protos.xds.v1 import module_pb2, relay_pb2, trial_pb2
from services.agent import metrics
from services.agent.modules import structure
from services.agent.modules.errors import ModuleError
from services.agent.modules.room import room
from services.agent.trial import Answer, tried

logger = logging.getLogger(__name__)

SECONDS = 60.0
CPU_SECONDS = 3
"""For an extension, and once more for each megabyte of modules."""
MAX_MODULE = 4 * 1024 * 1024
"""V8 takes nearly a second of CPU and 18 MB for each megabyte."""
REMEMBERED = 256

_BYTES = 64 * 1024 * 1024
_BYTES_FOR_EACH = 20
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_MANAGER = f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_FILTERS}.http.router.v3.Router"
_CONNECTIONS = f"{_FILTERS}.network."
LUA = f"{_FILTERS}.http.lua.v3.Lua"
_WASM = (f"{_FILTERS}.http.wasm.v3.Wasm", f"{_FILTERS}.network.wasm.v3.Wasm")

_REFUSES = "error initializing configuration"
_LINE = re.compile(r"\]\[(?:error|critical)\]\[[^\]]*\] (?:\[[^\]]*\] )?(.*)")
_SAYS_NOTHING = "Plugin "
_AT_START = ("Failed to start base Wasm", "Failed to configure base Wasm")
_MAX_LINES = 2


class _Case(Struct, frozen=True):
    """An extension that can be tried."""

    key: str
    config: Any
    size: int = 0
    """Of its module, in bytes."""
    calls_out: bool = False


class Judge:
    """Asks an Envoy, and remembers what it said."""

    def __init__(
        self,
        binary: Callable[[], str],
        node: Mapping[str, Json],
        folder: Path,
        *,
        free: Callable[[], int] = room,
    ) -> None:
        """Take the path of Envoy, the proxy's node, a folder to write to and the free memory."""
        self._binary = binary
        self._node = relay_pb2.Node(id=node["id"], cluster=node["cluster"])
        self._node.metadata.update(node["metadata"])
        self._folder = folder
        self._free = free
        self._known: dict[str, str] = {}

    async def refusals(self, configs: Sequence[Any]) -> list[str]:
        """Return for each extension why Envoy refuses it; "" if it does not, or nobody knows."""
        cases = [_case(one) for one in configs]
        fresh = {it.key: it for it in cases if it is not None and it.key not in self._known}
        if fresh:
            await self._learn(list(fresh.values()))
        return [self._known.get(it.key, "") if it else "" for it in cases]

    async def _learn(self, cases: Sequence[_Case]) -> None:
        if len(cases) > 1:
            answer = await self._answer(cases)
            if answer is None:
                return
            refused = bool(_refusal(answer, calls_out=False))
        for case in cases:
            alone = await self._answer([case]) if len(cases) == 1 or refused else answer
            if alone is None:
                continue
            why = _refusal(alone, calls_out=case.calls_out)
            verdict = {None: "undecided", "": "accepted"}.get(why, "refused")
            metrics.EXTENSIONS_TRIED.labels(verdict).inc()
            self._remember(case.key, why or "")

    def _remember(self, key: str, why: str) -> None:
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = why

    async def _answer(self, cases: Sequence[_Case]) -> Answer | None:
        """Return what Envoy says of extensions; None if it cannot be asked now."""
        if self._free() < _BYTES + _BYTES_FOR_EACH * sum(case.size for case in cases):
            logger.warning("too little memory to try extensions")
            metrics.EXTENSIONS_TRIED.labels("undecided").inc(len(cases))
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="trial.") as folder:
            path = Path(folder) / "trial.pb"
            path.write_bytes(self._bootstrap(cases).SerializeToString())
            line = [self._binary(), "--config-path", str(path), "--log-level", "error"]
            line += ["--concurrency", "1", "--disable-hot-restart", "--skip-deprecated-logs"]
            try:
                return await tried(line, seconds=SECONDS, cpu_seconds=_cpu_seconds(cases))
            except (TimeoutError, OSError) as error:
                logger.warning("extensions not tried", extra={"reason": type(error).__name__})
                return Answer(-signal.SIGKILL, "")

    def _bootstrap(self, cases: Sequence[_Case]) -> trial_pb2.Trial:
        made = trial_pb2.Trial(node=self._node)
        for index, case in enumerate(cases):
            listener = made.static_resources.listeners.add(name=f"trial {index}")
            listener.address.pipe.path = f"/nowhere/trial-{index}"
            chain = listener.filter_chains.add()
            tried_one = trial_pb2.TrialFilter(name="tried", typed_config=case.config)
            manager = trial_pb2.TrialManager(stat_prefix="trial")
            manager.route_config.SetInParent()
            of_connections = case.config.type_url.startswith(_CONNECTIONS)
            (chain.filters if of_connections else manager.http_filters).append(tried_one)
            manager.http_filters.add(name="router").typed_config.type_url = _ROUTER
            last = chain.filters.add(name="manager").typed_config
            last.type_url, last.value = _MANAGER, manager.SerializeToString()
        return made


def _case(config: Any) -> _Case | None:
    """Return how an extension is tried; None if it is not."""
    digest = hashlib.sha256(config.type_url.encode() + b"\0" + config.value)
    if config.type_url == LUA:
        return _Case(digest.hexdigest(), config)
    code = module_pb2.WasmFilter.FromString(config.value).config.vm_config.code
    if config.type_url not in _WASM or code.HasField("remote"):
        return None
    path = Path(code.local.filename)
    try:
        stat = path.stat()
        calls_out = structure.outline(path).calls_out
    except (OSError, ValueError, ModuleError):
        return _Case(digest.hexdigest(), config)  # Envoy has its own words for it
    if stat.st_size > MAX_MODULE:
        metrics.EXTENSIONS_TRIED.labels("undecided").inc()
        return None
    digest.update(f"{stat.st_mtime_ns} {stat.st_size}".encode())
    return _Case(digest.hexdigest(), config, stat.st_size, calls_out)


def _cpu_seconds(cases: Sequence[_Case]) -> int:
    return CPU_SECONDS * (1 + math.ceil(sum(case.size for case in cases) / 2**20))


def _refusal(answer: Answer, *, calls_out: bool) -> str | None:
    """Return why Envoy refuses what it was asked, "" if it does not, None if that is not known."""
    if not answer.code:
        return ""
    if answer.code == -signal.SIGXCPU:
        return "loading it does not come to an end"
    if answer.code < 0 or _REFUSES not in answer.said:
        return None
    if calls_out and any(it in answer.said for it in _AT_START):
        return None
    said = _LINE.findall(answer.said)
    causes = [it for it in said if _REFUSES not in it and not it.startswith(_SAYS_NOTHING)]
    if not causes:
        return answer.said.rpartition(_REFUSES)[2].partition("': ")[2].strip()
    return "; ".join(it.removeprefix("Wasm VM failed ") for it in causes[:_MAX_LINES])
