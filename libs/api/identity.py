"""Identity: what a raw document says of itself, as far as it can be read."""

from collections.abc import Mapping

from msgspec import Struct

from libs.api import registry
from libs.model.ids import Ref, ref

MAX_NAME = 253


class Identity(Struct, frozen=True):
    """Kind, namespace and name; empty where the document does not say.

    `group` is only set if the kind shares its name with one that the mesh reads, or may do so: a
    Gateway of the Gateway API is another resource than Istio's of the same name.
    """

    kind: str = ""
    namespace: str = ""
    name: str = ""
    group: str = ""

    @property
    def ref(self) -> Ref:
        """The reference, or an empty one if kind or name are not known."""
        if not self.kind or not self.name:
            return Ref("")
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return ref(kind, self.namespace, self.name)


def identify(raw: object) -> Identity:
    """Return who `raw` is, with the namespace that it gets if it names none."""
    if not isinstance(raw, Mapping):
        return Identity()
    kind, metadata = _text(raw, "kind"), raw.get("metadata")
    if not isinstance(metadata, Mapping):
        return Identity(kind)
    group = registry.split(_text(raw, "apiVersion"))[0]
    found = registry.BY_NAME.get((group, kind))
    cluster_scoped = found is not None and not found.namespaced
    namespace = "" if cluster_scoped else _text(metadata, "namespace") or registry.DEFAULT_NAMESPACE
    plain = kind not in registry.GROUPS or registry.GROUPS[kind] == group
    return Identity(kind, namespace, _text(metadata, "name"), "" if plain else group)


def _text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_NAME else ""
