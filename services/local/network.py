"""Network: a namespace for each workload, joined by a bridge that stands in one of its own.

A namespace is held by a process of ours (as a pod is by its pause container) and has no name: it
goes when the last process in it goes, also if we are killed. The bridge is not in the host's
namespace, so that the host's firewall and forwarding rules never touch traffic between workloads;
one veth pair gives the host an address on it.
Each namespace has its own mount namespace, in which /etc/hosts says what DNS would say.
"""

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from services.local.processes import tied

_BRIDGE = "br0"
CANDIDATES = ("10.66.0.0/16", "10.166.0.0/16", "172.29.0.0/16", "198.18.0.0/16")
_HOLD = """
mount --bind "$1" /etc/hosts &&
mount --bind "$2" /etc/resolv.conf &&
ip link set lo up &&
echo ready &&
exec sleep infinity
"""
_NO_RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


class NetworkError(Exception):
    """A command of the network's set-up failed; the message has its last words."""


async def command(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run one command and return what it printed.

    Raises:
        NetworkError: it failed.

    """
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    out, errors = await process.communicate()
    if process.returncode:
        message = f"{' '.join(words)}: {errors.decode(errors='replace').strip()}"
        raise NetworkError(message)
    return out.decode()


async def free_network() -> IPv4Network:
    """Return a network that no route of this machine overlaps.

    Raises:
        NetworkError: all candidates are taken.

    """
    taken = []
    for line in (await command("ip", "-4", "route", "show", "table", "all")).splitlines():
        for word in line.split()[:2]:
            try:
                taken.append(IPv4Network(word, strict=False))
            except ValueError:
                continue
    for candidate in map(IPv4Network, CANDIDATES):
        if not any(candidate.overlaps(other) for other in taken if other.prefixlen > 0):
            return candidate
    message = f"every network that could be used is routed already: {', '.join(CANDIDATES)}"
    raise NetworkError(message)


def _exists(link: str) -> bool:
    return Path("/sys/class/net", link).exists()


class Namespace:
    """One namespace, alive as long as its holder."""

    def __init__(self, name: str, holder: asyncio.subprocess.Process) -> None:
        self.name = name
        self._holder = holder

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self._holder.pid

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run inside."""
        return ("nsenter", "--target", str(self.pid), "--net", "--mount", "--wd=.", "--")

    async def close(self) -> None:
        """Let the namespace go; processes inside must have ended before."""
        if self._holder.returncode is None:
            self._holder.kill()
        await self._holder.wait()


class Network:
    """The bridge and the namespaces on it."""

    def __init__(
        self, directory: Path, network: IPv4Network, remember: Callable[[int], None]
    ) -> None:
        self._directory = directory
        self._remember = remember
        self._network = network
        self._host_link = f"seine-{network.network_address.packed.hex()[:4]}"
        self._hub: Namespace | None = None
        self._spaces: list[Namespace] = []

    @property
    def hub(self) -> Namespace:
        """The namespace of the bridge, where the control plane runs too."""
        if self._hub is None:
            message = "the network is not open"
            raise NetworkError(message)
        return self._hub

    async def open(self, addresses: list[IPv4Address], host: IPv4Address) -> None:
        """Make the bridge with `addresses` on it, and give the host one."""
        self._hub = await self._hold("hub")
        inside = self.hub.enter
        await command(*inside, "ip", "link", "add", _BRIDGE, "type", "bridge")
        for address in addresses:
            await command(
                *inside, "ip", "address", "add", self._with_prefix(address), "dev", _BRIDGE
            )
        await command(*inside, "ip", "link", "set", _BRIDGE, "up")
        peer = ("peer", "name", "host", "netns", str(self.hub.pid))
        await command("ip", "link", "add", self._host_link, "type", "veth", *peer)
        await command(*inside, "ip", "link", "set", "host", "master", _BRIDGE, "up")
        await command("ip", "address", "add", self._with_prefix(host), "dev", self._host_link)
        await command("ip", "link", "set", self._host_link, "up")

    async def add(self, name: str, index: int, address: IPv4Address) -> Namespace:
        """Make a namespace with one interface, eth0, on the bridge."""
        space = await self._hold(name)
        port = f"port{index}"
        peer = ("peer", "name", port, "netns", str(self.hub.pid))
        inside = space.enter
        await command(*inside, "ip", "link", "add", "eth0", "type", "veth", *peer)
        await command(*self.hub.enter, "ip", "link", "set", port, "master", _BRIDGE, "up")
        await command(*inside, "ip", "address", "add", self._with_prefix(address), "dev", "eth0")
        await command(*inside, "ip", "link", "set", "eth0", "up")
        return space

    async def remove(self, name: str) -> None:
        """Let one namespace go."""
        for space in [space for space in self._spaces if space.name == name]:
            await space.close()
            self._spaces.remove(space)

    async def close(self) -> None:
        """Let all namespaces go, and take the host's address away."""
        for space in reversed(self._spaces):
            await space.close()
        self._spaces.clear()
        self._hub = None
        await self._remove_host_link()

    async def _remove_host_link(self) -> None:
        """Remove our end of the pair, which the kernel may or may not have done already."""
        try:
            await command("ip", "link", "delete", self._host_link)
        except NetworkError:
            if _exists(self._host_link):
                raise

    async def _hold(self, name: str) -> Namespace:
        hosts, resolver = self._directory / f"{name}.hosts", self._directory / "resolv.conf"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.touch()
        resolver.write_text(_NO_RESOLVER)
        words = ("unshare", "--net", "--mount", "--propagation", "private", "--")
        shell = ("sh", "-c", _HOLD, "sh", str(hosts), str(resolver))
        holder = await asyncio.create_subprocess_exec(
            *tied([*words, *shell]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._remember(holder.pid)
        space = Namespace(name, holder)
        self._spaces.append(space)
        if holder.stdout is None or (await holder.stdout.readline()).strip() != b"ready":
            _, errors = await holder.communicate()
            message = f"namespace of {name}: {errors.decode(errors='replace').strip()}"
            raise NetworkError(message)
        return space

    def hosts_file(self, name: str) -> Path:
        """Return the file that is /etc/hosts inside a namespace; write it in place."""
        return self._directory / f"{name}.hosts"

    def _with_prefix(self, address: IPv4Address) -> str:
        return f"{address}/{self._network.prefixlen}"
