"""The agent's commands: `proxy`, `init`, `machine`, `wait`, `request`, and its own `certificate`.

Each loads only what it needs: what `proxy` loads stays in the memory of every pod.
"""

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the command that `arguments` name, and exit."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if command == "proxy":
        _proxy(rest)
    if command == "init":
        sys.exit(_init(rest))
    if command == "machine":
        sys.exit(_machine(rest))
    if command == "certificate":
        sys.exit(_certificate())
    if command in {"wait", "request"}:
        sys.exit(_hook(command, rest))
    sys.stderr.write(
        "usage: python -m services.agent {proxy {sidecar,router} | init | machine"
        " {proxy,init} | wait | request} …\n"
    )
    sys.exit(2)


def _proxy(arguments: Sequence[str]) -> NoReturn:
    from libs.runtime.main import run  # noqa: PLC0415  # see above
    from services.agent.app import Invocation, serve  # noqa: PLC0415
    from services.agent.settings import AgentSettings  # noqa: PLC0415

    parser = argparse.ArgumentParser("agent proxy", add_help=False)
    parser.add_argument("role", nargs="?", choices=("sidecar", "router"), default="sidecar")
    parser.add_argument("--domain", default="")
    parser.add_argument("--proxyLogLevel", default="warning")
    parser.add_argument("--proxyComponentLogLevel", default="misc:error")
    parser.add_argument("--log_output_level", default="")  # accepted; SEINE_LOG_LEVEL counts
    flags, others = parser.parse_known_args(arguments)
    invocation = Invocation(
        role=flags.role,
        domain=flags.domain,
        envoy_log_level=flags.proxyLogLevel,
        envoy_component_log_level=flags.proxyComponentLogLevel,
    )
    run(
        "agent",
        AgentSettings,
        functools.partial(serve, invocation=invocation),
        arguments=others,
        fast_loop=False,  # uvloop costs more memory than the agent's few streams are worth
    )


def _init(arguments: Sequence[str]) -> int:
    from services.agent.interception.command import run  # noqa: PLC0415

    return run(arguments, os.environ)  # noqa: TID251  # istio-iptables' variables, no settings


def _machine(arguments: Sequence[str]) -> int:
    from services.agent.machine.command import run  # noqa: PLC0415

    return run(arguments, os.environ)  # noqa: TID251  # handed on to what it becomes


def _certificate() -> int:
    # gRPC's own resolver asks DNS for more than `/etc/hosts` says, which is all that a machine may
    # have of the control plane; it reads this when it is imported.
    os.environ.setdefault("GRPC_DNS_RESOLVER", "native")  # noqa: TID251
    from libs.runtime.undumpable import forbid_dumps  # noqa: PLC0415
    from services.agent.certificate import main as obtain  # noqa: PLC0415

    forbid_dumps()
    return obtain()


def _hook(command: str, arguments: Sequence[str]) -> int:
    from services.agent import hooks  # noqa: PLC0415

    return hooks.wait(arguments) if command == "wait" else hooks.request(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
