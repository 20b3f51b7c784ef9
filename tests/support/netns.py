"""Network namespaces for tests: a pod, joined by a cable to this machine.

A namespace has no name: a process of ours holds it, and the kernel ends that process when the test
run dies, so nothing is left behind whatever happens. Sockets are made inside by a thread that
enters the namespace for their sake; they work in any thread afterwards. The thread can take the
user and group of a proxy, because the interception rules look at those of whoever made a socket.
"""

import contextlib
import ctypes
import encodings.idna  # noqa: F401  # a thread with the proxy's user may not read its file
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROXY = 1337
_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}
_PROGRAMS = ("iptables-restore", "ip6tables-restore", "ip", "unshare", "nsenter", "setpriv", "nft")
_CLONE_NEWNET = 0x40000000
_SETRESUID, _SETRESGID = 117, 119  # x86-64; the raw calls change one thread only
_SO_ORIGINAL_DST = 80
PATIENCE = 30.0
"""Seconds for what happens at once on a machine that has time; no test waits them out."""
_NETWORKS = range(100, 200)
"""Which of them is ours: two runs on one machine shall not have the same addresses."""
_numbers = cycle(range(1, 255))


BACKENDS = ("iptables", "nftables")


def unavailable() -> str:
    """Return why namespaces cannot be made here; empty if they can."""
    effective = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    for bit, name in _CAPABILITIES.items():
        if not effective >> bit & 1:
            return f"needs {name}"
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            return f"needs {program}"
    return "" if os.uname().machine == "x86_64" else "knows the system calls of x86-64 only"


class Pod:
    """A namespace with one interface, and the other end of its cable on this machine."""

    def __init__(self, holder: int, number: int, *, nftables: bool = False) -> None:
        self.holder = holder
        self.nftables = nftables
        """Whether `init` lays its rules by nft."""
        place = _NETWORKS[os.getpid() % len(_NETWORKS)], number
        self.address, self.host = ("10.{}.{}.{}".format(*place, last) for last in (2, 1))
        self.address6, self.host6 = ("fd00:{}:{}::{}".format(*place, last) for last in (2, 1))
        self._link = f"snt{os.getpid() % 100000}-{number}"

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run inside."""
        return ("nsenter", f"--target={self.holder}", "--net", "--")

    @property
    def enter_as_proxy(self) -> tuple[str, ...]:
        """The same, with a proxy's user and group."""
        return self.enter_as(PROXY)

    def enter_as(self, user: int) -> tuple[str, ...]:
        """The same, with a proxy's group and a user, who may read this machine's files."""
        words = (*self.enter, "setpriv", f"--regid={PROXY}", "--clear-groups")
        if user:
            files = "+dac_override,+fowner"
            words += (f"--reuid={user}", f"--inh-caps={files}", f"--ambient-caps={files}")
        return (*words, "--")

    def connect_cable(self) -> None:
        """Make the interfaces and their addresses."""
        peer = ("peer", "name", "eth0", "netns", str(self.holder))
        run("ip", "link", "add", self._link, "type", "veth", *peer)
        for inside, link, address, address6 in (
            ((), self._link, self.host, self.host6),
            (self.enter, "eth0", self.address, self.address6),
        ):
            run(*inside, "ip", "addr", "add", f"{address}/24", "dev", link)
            run(*inside, "ip", "addr", "add", f"{address6}/64", "dev", link, "nodad")
            run(*inside, "ip", "link", "set", link, "up")
        run(*self.enter, "ip", "link", "set", "lo", "up")
        run(*self.enter, "ip", "route", "add", "default", "via", self.host)
        run(*self.enter, "ip", "-6", "route", "add", "default", "via", self.host6)

    def cut_cable(self) -> None:
        """Take the interfaces away; the one inside goes with ours."""
        subprocess.run(["ip", "link", "del", self._link], check=False, capture_output=True)

    def init(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run `agent init` inside."""
        if self.nftables:
            flags = ("--native-nftables", *flags)
        command = [*self.enter, sys.executable, "-m", "services.agent", "init", *flags]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)

    def lay(self, *flags: str) -> None:
        """Lay the interception rules, which must work."""
        done = self.init(*flags)
        assert done.returncode == 0, done.stderr

    def rules(self, family: int = 4) -> str:
        """Return what the kernel has, without counters and comments."""
        if self.nftables:
            listed = ("nft", "-s", "list", "ruleset", "ip" if family == 4 else "ip6")
            return run(*self.enter, *listed).strip()
        saved = run(*self.enter, "iptables-save" if family == 4 else "ip6tables-save")
        return "\n".join(line for line in saved.splitlines() if not line.startswith(("#", ":")))

    def inside(self, make: Callable[[], T], *, as_proxy: bool = False, user: int = 0) -> T:
        """Return what `make` returns in a thread inside the namespace.

        `user` is the number of the user and group that the thread takes, the proxy's if it is one.
        """
        found: list[T] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                _enter(self.holder)
                if number := PROXY if as_proxy else user:
                    _become(number)
                found.append(make())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def listen(self, port: int, *, address: str = "", transparent: bool = False) -> socket.socket:
        """Return a listening socket inside, on all addresses of both families."""
        return self.inside(lambda: listen(port, address=address, transparent=transparent))

    def dial(
        self, address: str, port: int, *, as_proxy: bool = False, source: str = "", user: int = 0
    ) -> socket.socket:
        """Connect from inside."""
        return self.inside(lambda: dial(address, port, source=source), as_proxy=as_proxy, user=user)


@contextlib.contextmanager
def pod(*, nftables: bool = False) -> Iterator[Pod]:
    """Make a pod; it is gone after the block."""
    # No Python between fork and exec: a collection there would end objects of gRPC's threads.
    die_with_us = ["setpriv", "--pdeathsig", "KILL"]
    holder = subprocess.Popen([*die_with_us, "unshare", "--net", "sleep", "infinity"])
    found = Pod(holder.pid, next(_numbers), nftables=nftables)
    try:
        _await_own_namespace(holder.pid)
        found.connect_cable()
        yield found
    finally:
        found.cut_cable()
        holder.kill()
        holder.wait()


def listen(port: int, *, address: str = "", transparent: bool = False) -> socket.socket:
    """Return a listening socket; without an address, for both families."""
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    made = socket.socket(family)
    made.settimeout(PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not address:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if transparent:
        made.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
    made.bind((address, port))
    made.listen()
    return made


def dial(address: str, port: int, *, source: str = "") -> socket.socket:
    """Return a connection."""
    return socket.create_connection(
        (address, port), timeout=PATIENCE, source_address=(source, 0) if source else None
    )


def accept(listening: socket.socket) -> socket.socket:
    """Return the next connection."""
    connection, _ = listening.accept()
    connection.settimeout(PATIENCE)
    return connection


def original(connection: socket.socket) -> tuple[str, int]:
    """Return where a redirected connection was for."""
    if connection.getpeername()[0].startswith("::ffff:"):
        raw = connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        port, packed = struct.unpack_from("!2xH4s", raw)
        return socket.inet_ntop(socket.AF_INET, packed), port
    raw = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
    port, packed = struct.unpack_from("!2xH4x16s", raw)
    return socket.inet_ntop(socket.AF_INET6, packed), port


def run(*command: str) -> str:
    """Run a command that must work; return its output."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _become(number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (_SETRESGID, _SETRESUID):
        if libc.syscall(call, number, number, number) != 0:
            raise OSError(ctypes.get_errno(), "setresid")


def _await_own_namespace(pid: int) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        os.sched_yield()
