"""Reasons: the machine-readable part of every Problem, each with the sentence that explains it.

The reference page of reasons is made from `describe()`; a reason keeps its name for good, because
people filter and alert by it.
"""

from collections.abc import Mapping

_SENTENCES: dict[str, str] = {}


def _reason(name: str, sentence: str) -> str:
    _SENTENCES[name] = sentence
    return name


def describe() -> Mapping[str, str]:
    """Return the sentence of every reason, ordered by name."""
    return dict(sorted(_SENTENCES.items()))


# Reading a manifest
INVALID_YAML = _reason(
    "InvalidYaml", "The document is not YAML, or not YAML that JSON can express."
)
ALIAS = _reason("AliasNotAccepted", "YAML aliases are refused, because a few expand to gigabytes.")
DUPLICATE_KEY = _reason("DuplicateKey", "A mapping has the same key twice.")
TOO_DEEP = _reason("TooDeep", "Mappings and lists are nested deeper than any resource needs.")
TOO_LARGE = _reason("TooLarge", "The document, or the number of documents, is over its limit.")
NOT_AN_OBJECT = _reason("NotAnObject", "The document is not a mapping with apiVersion and kind.")

# Finding out what it is
MISSING_FIELD = _reason("MissingField", "A field that the kind requires is not there.")
UNKNOWN_KIND = _reason("UnknownKind", "The API group has no such kind.")
UNKNOWN_VERSION = _reason("UnknownVersion", "The kind is not served in this version.")
UNSUPPORTED_KIND = _reason(
    "UnsupportedKind", "The kind is Istio's or the Gateway API's, but not done yet."
)

# Reading its fields
UNKNOWN_FIELD = _reason("UnknownField", "The kind has no such field.")
WRONG_TYPE = _reason("WrongType", "The value is of another type than the field.")
OUT_OF_RANGE = _reason(
    "OutOfRange", "The number, length or count is outside of what the field allows."
)
INVALID_CHOICE = _reason("InvalidChoice", "The value is not one of those that the field knows.")
INVALID_DURATION = _reason(
    "InvalidDuration", "Not a duration such as 1.5s, 100ms or 1h, or out of range."
)
INVALID_TIME = _reason("InvalidTime", "Not a time such as 2025-01-31T08:00:00Z.")
INVALID_BYTES = _reason("InvalidBytes", "Not base64.")
INVALID_NAME = _reason("InvalidName", "Not a name that Kubernetes accepts.")
TOO_MANY_PROBLEMS = _reason(
    "TooManyProblems", "Only the first problems of the resource are listed."
)

# What it refers to, and what else there is
HOST_NOT_FOUND = _reason("HostNotFound", "No service has this host.")
SUBSET_NOT_FOUND = _reason("SubsetNotFound", "No DestinationRule for the host has this subset.")
PORT_NOT_FOUND = _reason("PortNotFound", "The host has no such port.")
PORT_AMBIGUOUS = _reason("PortAmbiguous", "The host has several ports, and none of them is named.")
CONFLICTING_HOST = _reason(
    "ConflictingHost", "An older VirtualService routes the same host for sidecars."
)
CONFLICTING_POLICY = _reason(
    "ConflictingPolicy", "An older resource already decides the same thing."
)
DUPLICATE_SUBSET = _reason(
    "DuplicateSubset", "An older DestinationRule for the host has this subset."
)
DUPLICATE_RESOURCE = _reason(
    "DuplicateResource", "The resource is written twice; the first one counts."
)
UNSUPPORTED_FIELD = _reason("UnsupportedField", "The field is Istio's, but not done yet.")

# What resources say of each other
CONFLICTING_HOST = _reason("ConflictingHost", "An older resource already decides for this host.")
CONFLICTING_POLICY = _reason("ConflictingPolicy", "An older policy already holds for this scope.")
DUPLICATE_SUBSET = _reason("DuplicateSubset", "The subset is defined twice; the first one counts.")
HOST_NOT_FOUND = _reason("HostNotFound", "No service that is visible here has this host.")
SUBSET_NOT_FOUND = _reason("SubsetNotFound", "No DestinationRule of the host defines this subset.")
PORT_NOT_FOUND = _reason("PortNotFound", "The host has no such port.")
PORT_AMBIGUOUS = _reason("PortAmbiguous", "The host has several ports, so the port must be named.")
UNREADABLE_FILE = _reason("UnreadableFile", "The file is there, but cannot be read.")
