"""What the kinds of extensions have in common: modules of WebAssembly, and the traffic they see."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import Message
from libs.api.selector import PortNumber

ModuleUrl = Annotated[str, Meta(min_length=1)]
SecretName = Annotated[str, Meta(min_length=1, max_length=253)]
PluginName = Annotated[str, Meta(min_length=1, max_length=256)]


class PluginType(StrEnum):
    """What a module filters."""

    UNSPECIFIED_PLUGIN_TYPE = "UNSPECIFIED_PLUGIN_TYPE"
    HTTP = "HTTP"
    NETWORK = "NETWORK"


class PullPolicy(StrEnum):
    """When a module is fetched anew."""

    UNSPECIFIED_POLICY = "UNSPECIFIED_POLICY"
    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"


class FailStrategy(StrEnum):
    """What becomes of traffic when a module cannot be had, or fails."""

    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class ValueSource(StrEnum):
    """Where the value of a variable comes from."""

    INLINE = "INLINE"
    HOST = "HOST"


class EnvVar(Message, frozen=True):
    """A variable that a module can read."""

    name: PluginName
    value_from: ValueSource | None = None
    value: Annotated[str, Meta(max_length=2048)] | None = None


class VmConfig(Message, frozen=True):
    """Settings of the machine that a module runs in."""

    env: Annotated[tuple[EnvVar, ...], Meta(max_length=256)] = ()


class WorkloadMode(StrEnum):
    """Whether a workload calls (CLIENT) or is called (SERVER)."""

    UNDEFINED = "UNDEFINED"
    CLIENT = "CLIENT"
    SERVER = "SERVER"
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"


class TrafficSelector(Message, frozen=True):
    """The traffic that an extension sees; no ports mean all of them."""

    mode: WorkloadMode = WorkloadMode.UNDEFINED
    ports: tuple[PortNumber, ...] = ()
