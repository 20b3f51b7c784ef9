"""Type stubs of Envoy's protos, generated into `typings/` from the installed wheel's descriptors.

The wheel `xds-protos` ships none. Its own descriptors are handed to mypy-protobuf, so that stubs
and code are always of one version. Run by `make setup`; nothing is generated when the stubs are
those of the installed version already.
"""

import importlib
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.compiler import plugin_pb2

TARGET = Path(__file__).parents[2] / "typings"
_ROOMS = ("envoy/", "udpa/", "validate/", "xds/")  # not `google/`: it would hide protobuf's own
_PLUGIN = Path(sys.executable).parent / "protoc-gen-mypy"


def _modules() -> list[str]:
    files = distribution("xds-protos").files or []
    return sorted(
        str(file).removesuffix(".py").replace("/", ".")
        for file in files
        if str(file).endswith("_pb2.py") and str(file).startswith(_ROOMS)
    )


def _request(modules: list[str]) -> plugin_pb2.CodeGeneratorRequest:
    request = plugin_pb2.CodeGeneratorRequest(parameter="quiet")
    seen: set[str] = set()
    pool = descriptor_pool.Default()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        proto = descriptor_pb2.FileDescriptorProto()
        pool.FindFileByName(name).CopyToProto(proto)
        for dependency in proto.dependency:
            add(dependency)
        request.proto_file.append(proto)

    for module in modules:
        name = importlib.import_module(module).DESCRIPTOR.name
        add(name)
        request.file_to_generate.append(name)
    return request


def main() -> None:
    """Write the stubs, unless they are current."""
    version = distribution("xds-protos").version
    stamp = TARGET / ".version"
    if stamp.exists() and stamp.read_text() == version:
        return
    request = _request(_modules())
    done = subprocess.run(
        [str(_PLUGIN)], input=request.SerializeToString(), capture_output=True, check=True
    )
    response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if response.error:
        sys.exit(response.error)
    for file in response.file:
        path = TARGET / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    for folder in [path for room in _ROOMS for path in (TARGET / room).rglob("*") if path.is_dir()]:
        (folder / "__init__.pyi").touch()  # else mypy takes the wheels' untyped packages
    for room in _ROOMS:
        (TARGET / room / "__init__.pyi").touch()
    stamp.write_text(version)
    print(f"{len(response.file)} stubs of xds-protos {version} written")


if __name__ == "__main__":
    main()
