"""Modules beside each `.proto`, generated; a test compares them with what is committed."""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent  # the plugins stand beside the interpreter, maybe not on PATH


def protos() -> list[str]:
    """Return every .proto of ours, relative to the root."""
    found = [*ROOT.glob("libs/protos/**/*.proto"), *ROOT.glob("examples/**/*.proto")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def generate(target: Path) -> None:
    """Write the modules of every .proto below `target`."""
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{Path(protoc.__file__).parent / '_proto'}",
        *(f"--plugin={name}={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *protos(),
    ]
    if status := protoc.main(arguments):
        sys.exit(status)


if __name__ == "__main__":
    generate(ROOT)
