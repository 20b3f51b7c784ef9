"""`seinectl inject`: manifests with proxies in their pod templates, without a cluster.

The same injection as at admission. What a cluster would have known comes from files, or from
ConfigMaps and ProxyConfigs among the manifests. Manifests go to standard output, as YAML without
the comments that were in them; what is wrong goes to standard error.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from msgspec import Struct

from libs.api import documents, mesh_config, yaml_scalars
from libs.api.check import check_raw
from libs.api.documents import Document, Raw
from libs.api.kubernetes import ConfigMap, Namespace
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.problem import Problem
from libs.api.resource import Metadata
from libs.inject import config, manifests
from libs.inject.manifests import Outcome
from libs.inject.scene import Cluster, NamespaceFacts, Settings
from services.ctl import output, validate


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says; files are empty where it says nothing."""

    namespace: str = "default"
    mesh_file: str = ""
    config_file: str = ""
    values_file: str = ""
    cluster: Cluster = Cluster()


def run(paths: Sequence[str], options: Options) -> int:
    """Print the manifests in files and folders, injected; return the exit status."""
    found = list(read(paths))
    raws = [one.raw for one in found if one.raw is not None]
    settings, namespaces = settings_of(raws, options), namespaces_of(raws)
    outcomes = [
        manifests.injected(
            raw,
            cluster=options.cluster,
            settings=settings,
            namespace=options.namespace,
            namespaces=namespaces,
        )
        for raw in raws
    ]
    for document, outcome in zip(found, outcomes, strict=True):
        _say(document, outcome)
    if any(outcome.refused for outcome in outcomes):
        return output.FAILED
    sys.stdout.write(written([outcome.document for outcome in outcomes]))
    return output.OK


def read(paths: Sequence[str]) -> Iterator[Document]:
    """Yield every document, or end the command with what cannot be read."""
    for name, text in validate.texts(paths):
        for document in documents.read(text, name):
            if document.raw is None:
                _fail(document.problems)
            yield document


def settings_of(raws: Sequence[Raw], options: Options) -> Settings:
    """Return what files and manifests say of proxies, or end the command."""
    mesh, injector = _config_map(raws, mesh_config.NAME), _config_map(raws, config.NAME)
    if options.mesh_file:
        mesh = {**mesh, mesh_config.KEY: _text(options.mesh_file)}
    if options.config_file:
        injector = {**injector, config.CONFIG_KEY: _text(options.config_file)}
    if options.values_file:
        injector = {**injector, config.VALUES_KEY: _text(options.values_file)}
    found, problems = config.read(ConfigMap(Metadata(config.NAME), injector))
    mesh_found, mesh_problems = mesh_config.read(ConfigMap(Metadata(mesh_config.NAME), mesh))
    wrong = [one for one in (*problems, *mesh_problems) if one.severity == "error"]
    if wrong or mesh_found is None:
        _fail(wrong)
    proxies = [check_raw(raw)[0] for raw in raws if raw.get("kind") == "ProxyConfig"]
    return Settings(
        config=found,
        mesh=mesh_found,
        proxy_configs=tuple(one for one in proxies if isinstance(one, ProxyConfig)),
    )


def namespaces_of(raws: Sequence[Raw]) -> dict[str, NamespaceFacts]:
    """Return what manifests say of namespaces."""
    found = (check_raw(raw)[0] for raw in raws if raw.get("kind") == Namespace.__name__)
    known = [one.metadata for one in found if isinstance(one, Namespace)]
    return {
        it.name: NamespaceFacts(name=it.name, labels=it.labels, annotations=it.annotations)
        for it in known
    }


def written(found: Sequence[Raw]) -> str:
    """Return documents as YAML, each field where it was."""
    return yaml.dump_all(found, Dumper=_Dumper, sort_keys=False, explicit_start=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Nothing is written once and referred to: other readers refuse aliases, and so do we."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote also what only other readers of YAML take for a number, such as 1e3."""
    try:
        style = None if yaml_scalars.resolve(text) == text else "'"
    except ValueError:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _config_map(raws: Sequence[Raw], name: str) -> dict[str, str]:
    for raw in raws:
        metadata: Any = raw.get("metadata")
        if raw.get("kind") == "ConfigMap" and isinstance(metadata, dict):
            data = raw.get("data")
            if metadata.get("name") == name and isinstance(data, dict):
                return {key: str(value) for key, value in data.items()}
    return {}


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        output.fail(f"{path}: {error}")


def _say(document: Document, outcome: Outcome) -> None:
    place = f"{document.file}:{document.line}: {document.ref}".strip()
    if outcome.wrong:
        _note(f"{place}: {outcome.wrong}")
    if outcome.decision is not None:
        for text in outcome.decision.ignored:
            _note(f"{place}: {text}")
        if not outcome.decision.inject:
            _note(f"{place}: not injected: {outcome.decision.text}")
    for problem in outcome.problems:
        _note(f"{place}: {problem.severity} {problem.path}: {problem.text}")


def _fail(problems: Sequence[Problem]) -> NoReturn:
    lines = [f"{one.file}:{one.line} {one.path}: {one.text}".strip() for one in problems]
    output.fail("these texts cannot be used", hint="\n".join(lines))


def _note(text: str) -> None:
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    sys.stderr.write(f"{shown}\n")
