"""Reasons: the machine-readable part of every Problem, each with the sentence that explains it.

The reference page of reasons is made from `describe()`; a reason keeps its name for good, because
people filter and alert by it. Where Istio's analyzers find the same, the reason carries their code;
which code a problem has in the end is decided in `libs.api.codes`.
"""

from collections.abc import Mapping

_SENTENCES: dict[str, str] = {}
_CODES: dict[str, Mapping[str, str]] = {}


def _reason(name: str, sentence: str, **codes: str) -> str:
    """Declare a reason; `codes` are Istio's codes for it by kind, `any` for all other kinds."""
    _SENTENCES[name] = sentence
    _CODES[name] = {kind: f"IST{number}" for kind, number in codes.items()}
    return name


def describe() -> Mapping[str, str]:
    """Return the sentence of every reason, ordered by name."""
    return dict(sorted(_SENTENCES.items()))


def codes(reason: str) -> Mapping[str, str]:
    """Return Istio's codes for a reason by kind, under `any` that of all other kinds."""
    return _CODES.get(reason, {})


# Reading from a cluster
NOT_FOLLOWED = _reason(
    "NotFollowed",
    "Discovery cannot list or watch a kind: it may not, or the API server is away.",
)
OTHER_REVISION = _reason(
    "OtherRevision",
    "The label of the object gives it to another revision of the control plane: it is left alone.",
)
EARLIER_LIFE = _reason(
    "EarlierLife",
    "The API server has not answered since discovery started: what was known before is served.",
)

INTERNAL_ERROR = _reason(
    "InternalError",
    "The object brings a bug of ours to light; its last good state stays, all others go on.",
)

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
OUTDATED_DEFINITION = _reason(
    "OutdatedDefinition",
    "The CRD is of a release of the Gateway API that Istio passes by.",
    any="0176",
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
HOST_NOT_FOUND = _reason(
    "HostNotFound", "No service has this host.", any="0101", DestinationRule="0174"
)
SUBSET_NOT_FOUND = _reason(
    "SubsetNotFound", "No DestinationRule for the host has this subset.", any="0101"
)
DELEGATE_NOT_FOUND = _reason(
    "DelegateNotFound",
    "There is no such VirtualService to delegate to, or not for this one.",
    any="0101",
)
PORT_NOT_FOUND = _reason("PortNotFound", "The host has no such port.", any="0101")
PORT_AMBIGUOUS = _reason(
    "PortAmbiguous", "The host has several ports, and none of them is named.", any="0112"
)
GATEWAY_NOT_FOUND = _reason("GatewayNotFound", "There is no such Gateway.", any="0101")
SECRET_NOT_FOUND = _reason(
    "SecretNotFound",
    "There is no Secret of that name in any namespace.",
    any="0101",
    Gateway="0161",
)
CONFLICTING_HOST = _reason(
    "ConflictingHost",
    "An older resource routes the same host for sidecars, or declares it.",
    VirtualService="0109",
    Gateway="0145",
)
FOREIGN_HOST = _reason(
    "ForeignHost",
    "The host is another namespace's, and hosts are strictly their owners': it holds at home only.",
)
CAPPED_VISIBILITY = _reason(
    "CappedVisibility", "The mesh lets fewer namespaces see the hosts than the entry exports to."
)
CONFLICTING_POLICY = _reason(
    "ConflictingPolicy", "An older resource already decides the same thing."
)
NO_ADDRESS_LEFT = _reason(
    "NoAddressLeft", "Other hosts have all automatic addresses that this one could have."
)
LISTENER_CONFLICT = _reason(
    "ListenerConflict",
    "An older service already has all connections to the address and port.",
    Gateway="0145",
)
DUPLICATE_SUBSET = _reason(
    "DuplicateSubset", "The subset is there already, in the resource or in an older one."
)
DUPLICATE_RESOURCE = _reason(
    "DuplicateResource", "The resource is written twice; the first one counts."
)
UNSUPPORTED_FIELD = _reason("UnsupportedField", "The field is Istio's, but not done yet.")
UNKNOWN_PROVIDER = _reason(
    "UnknownProvider",
    "MeshConfig has no extension provider of this name that could do this.",
    Telemetry="0157",
)
KEYS_UNAVAILABLE = _reason(
    "KeysUnavailable", "The keys of an issuer of tokens are not known, or not known any more."
)
PATCH_MISFIT = _reason(
    "PatchMisfit",
    "The value of a patch is not what Envoy's types know, or not what it is laid over.",
)
PATCH_WITHOUT_EFFECT = _reason(
    "PatchWithoutEffect", "A patch matches nothing of what a proxy gets."
)
PATCH_REFUSED = _reason("PatchRefused", "Envoy refuses what a patch makes.")
PATCH_NOT_IN_FORCE = _reason(
    "PatchNotInForce", "A patch of a bootstrap waits for the next start of its proxy."
)
SELECTS_NOTHING = _reason(
    "SelectsNothing",
    "No workload carries the labels that are asked for.",
    any="0127",
    Gateway="0101",
)
SHARED_SELECTOR = _reason(
    "SharedSelector",
    "Resources that cannot be combined select the same workload.",
    Sidecar="0110",
    Telemetry="0159",
)
SEVERAL_DEFAULTS = _reason(
    "SeveralDefaults",
    "Several resources are for all workloads of the namespace, where one may be.",
    Sidecar="0111",
    Telemetry="0160",
)
INTERNAL_GATEWAY = _reason(
    "InternalGateway",
    "The Gateway is made for one of the Gateway API, under a name that may change.",
    any="0165",
)
UNKNOWN_REGISTRY = _reason(
    "UnknownRegistry", "A network of the mesh names a cluster that nobody knows.", any="0126"
)
NEGATIVE_STATUS = _reason(
    "NegativeStatus", "A controller has written that something is not so.", any="0171"
)
UNRESTRICTED_FETCH = _reason(
    "UnrestrictedFetch",
    "Keys are fetched from wherever a namespace's user says, this machine and private networks "
    "included.",
    any="0175",
)
HOST_NOT_AT_GATEWAY = _reason(
    "HostNotAtGateway", "No server of the Gateway has this host.", any="0132"
)
PORT_NOT_EXPOSED = _reason(
    "PortNotExposed", "No Service of the gateway's workloads has this port.", any="0162"
)
EMPTY_SUBSET = _reason(
    "EmptySubset", "No workload of the host carries the labels of the subset.", any="0173"
)
UNCLEAR_PROTOCOL = _reason(
    "UnclearProtocol", "Neither the port's name nor appProtocol says what it speaks.", any="0118"
)
UNCLEAR_ALIAS_PORT = _reason(
    "UnclearAliasPort",
    "Neither the port's name nor appProtocol says what the external name speaks.",
    any="0150",
)
CONFLICTING_SERVICES = _reason(
    "ConflictingServices",
    "An older Service says that the workload's port speaks another protocol.",
    any="0116",
)
CONFLICTING_NUMBERS = _reason(
    "ConflictingNumbers",
    "An older Service leads to the workload's port from another port number.",
    any="0137",
)
UNVERIFIED_CLAIMS = _reason(
    "UnverifiedClaims", "Requests are routed by claims of tokens that nobody verifies.", any="0149"
)
DUPLICATE_CERTIFICATE = _reason(
    "DuplicateCertificate", "Gateways of the same workloads name the same certificate.", any="0138"
)
CONFLICTING_PROTOCOL = _reason(
    "ConflictingProtocol",
    "An older resource says that the port speaks another protocol.",
    any="0177",
)
UNREADABLE_FILE = _reason("UnreadableFile", "The file is there, but cannot be read.")

# What a resource says by itself
INVALID_HOST = _reason("InvalidHost", "Not a host name, or a wildcard where there may be none.")
DUPLICATE_HOST = _reason("DuplicateHost", "Another host of the resource covers this one.")
INVALID_ADDRESS = _reason("InvalidAddress", "Not an IP address, or not a block of addresses.")
INVALID_PORT = _reason("InvalidPort", "Not a port number, or not a port's name.")
DUPLICATE_PORT = _reason("DuplicatePort", "The number or the name of the port is there twice.")
INVALID_PROTOCOL = _reason("InvalidProtocol", "Not a protocol that a port can have.")
INVALID_LABEL = _reason("InvalidLabel", "Not a label's key or value, or a wildcard in a selector.")
INVALID_ANNOTATION = _reason(
    "InvalidAnnotation", "The annotation may not be set so, or not here.", any="0125"
)
INVALID_REGEX = _reason("InvalidRegex", "Not a regular expression of RE2, or a too long one.")
INVALID_HEADER = _reason("InvalidHeader", "Not a header's name or value, or not one to change.")
INVALID_METHOD = _reason("InvalidMethod", "Not an HTTP method.")
INVALID_STATUS = _reason("InvalidStatus", "Not a status that a proxy can answer with.")
INVALID_RETRY_ON = _reason("InvalidRetryOn", "Not a condition on which Envoy retries.")
INVALID_WEIGHT = _reason("InvalidWeight", "A share is negative, or the shares do not add up.")
INVALID_EXPORT_TO = _reason("InvalidExportTo", "Not a namespace, or entries at odds.")
INVALID_GATEWAY = _reason("InvalidGateway", "Not the name of a Gateway.")
INVALID_SNI = _reason("InvalidSni", "Not a name that TLS connections of these hosts can ask for.")
INVALID_LOCALITY = _reason("InvalidLocality", "Not a locality, or one that overlaps with another.")
INVALID_TARGET = _reason("InvalidTarget", "Not something that a policy can attach to.")
INVALID_VALUE = _reason("InvalidValue", "Not a value that the attribute ever has.")
UNKNOWN_ATTRIBUTE = _reason("UnknownAttribute", "There is no such attribute of a request.")
EMPTY_VALUE = _reason("EmptyValue", "A text or list is empty that has to say something.")
CONFLICTING_FIELDS = _reason("ConflictingFields", "Fields are set that exclude each other.")
NEEDS_GATEWAY = _reason("NeedsGateway", "This works at gateways only, and the resource names none.")
NO_EFFECT = _reason("NoEffect", "The field is allowed, and changes nothing.")
EMPTY_SELECTOR = _reason("EmptySelector", "A selector without labels selects every workload.")
DEPRECATED = _reason(
    "Deprecated", "The field or form still works; there is a better one.", any="0002"
)
LARGE_BODY = _reason("LargeBody", "A body that is sent to every proxy costs memory and time.")
UNPINNED_AUTHORITY = _reason(
    "UnpinnedAuthority",
    "The server's certificate may come from any authority of the system.",
    any="0128",
)
INVALID_PROBE = _reason("InvalidProbe", "Not exactly one way to find out whether it is ready.")
ADDRESSES_REQUIRED = _reason(
    "AddressesRequired",
    "TCP without an address of its own cannot be told from other TCP.",
    any="0134",
)
INVALID_URL = _reason("InvalidUrl", "Not a URL, or not of a scheme that can be fetched.")
INVALID_KEY_SET = _reason("InvalidKeySet", "Not a set of public keys in JSON (JWKS).")
PRIVATE_KEY = _reason("PrivateKey", "A private key stands where a public one is enough.")
INVALID_EXPRESSION = _reason("InvalidExpression", "Not an expression of CEL that Envoy can read.")
INVALID_SCRIPT = _reason("InvalidScript", "Not a script of Lua that Envoy can compile.")
INVALID_FORMAT = _reason("InvalidFormat", "Not a text with commands that Envoy can fill in.")
ENVOY_INTERNALS = _reason(
    "EnvoyInternals", "What is patched is no interface, and may change with every version."
)
RELATIVE_PATCH = _reason(
    "RelativePatch",
    "What the patch does depends on which other patches come before it.",
    any="0151",
)
RELATIVE_PATCH_OF_VERSION = _reason(
    "RelativePatchOfVersion",
    "The same, of a patch that only proxies of some versions get.",
    any="0155",
)
UNKNOWN_CIPHER = _reason(
    "UnknownCipher", "A cipher suite or curve is unknown, or repeated, and so is left out."
)
DENIES_TCP = _reason("DeniesTcp", "A DENY rule with only HTTP attributes denies all of TCP.")
UNREACHABLE_RULE = _reason("UnreachableRule", "No request ever reaches the route.", any="0130")
INEFFECTIVE_MATCH = _reason(
    "IneffectiveMatch", "An earlier match takes all of its requests.", any="0131"
)

# What is odd about pods and their proxies
NAMESPACE_NOT_INJECTED = _reason(
    "NamespaceNotInjected",
    "No label says whether pods of the namespace get proxies, and so they get none.",
    any="0102",
)
INJECTED_BY_DEFAULT = _reason(
    "InjectedByDefault",
    "No label says whether pods of the namespace get proxies, and so they do.",
    any="0148",
)
CONFLICTING_LABELS = _reason(
    "ConflictingLabels", "Labels of the namespace say different things of injection.", any="0123"
)
MISSING_PROXY = _reason("MissingProxy", "The pod should have a proxy, and has none.", any="0103")
MISPLACED_ANNOTATION = _reason(
    "MisplacedAnnotation", "The annotation has no effect on this kind.", any="0107"
)
UNKNOWN_ANNOTATION = _reason("UnknownAnnotation", "Istio has no such annotation.", any="0108")
DEPRECATED_ANNOTATION = _reason(
    "DeprecatedAnnotation", "The annotation still works; there is a better way.", any="0135"
)
ALPHA_ANNOTATION = _reason(
    "AlphaAnnotation", "The annotation works; Istio does not promise that it will.", any="0136"
)
PROXY_USER = _reason(
    "ProxyUser", "The application runs as the user whose traffic passes the proxy by.", any="0144"
)
PROXY_IMAGE_MISMATCH = _reason(
    "ProxyImageMismatch", "Pods run proxies of another image than new ones get.", any="0158"
)
IMAGE_AUTO = _reason(
    "ImageAuto", "The image is left to an injection that does not happen.", any="0146", Pod="0147"
)
INVALID_WEBHOOK = _reason(
    "InvalidWebhook", "The injector is nowhere, or two are asked about one pod.", any="0139"
)
INVALID_WEBHOOK_URL = _reason("InvalidWebhookUrl", "Not the URL of an injector.", any="0163")
NUMERIC_WEBHOOK_URL = _reason(
    "NumericWebhookUrl", "The URL of the injector has an address, and no name.", any="0164"
)
POLICY_WITHOUT_PROXY = _reason(
    "PolicyWithoutProxy", "None of the workloads that are selected has a proxy.", any="0167"
)
INGRESS_PASSES_RULES = _reason(
    "IngressPassesRules",
    "Requests that come through an Ingress do not meet the routes of the service.",
    any="0140",
)
