"""Ingested: what discovery makes of folders of files and of an API server's events, in process."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence

import yaml
from msgspec import Raw as Bytes

from libs.api.registry import Kind, find
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.settings import MeshSettings
from libs.runtime.clock import SystemClock
from libs.translate.apply import Step
from services.discovery.files import Batch, FileText
from services.discovery.ingest import Ingest
from services.discovery.objects import Objects
from tests.golden.mutants import Raw

Files = Mapping[str, str]


async def steps(*batches: Batch) -> list[Step]:
    """Return what comes of batches that arrive one after the other."""
    found: list[Step] = []

    async def feed() -> AsyncIterator[Batch]:
        for batch in batches:
            yield batch

    await Ingest(MeshSettings(), found.append, SystemClock()).run(feed())
    return found


def placed(documents: Sequence[Raw], one: Raw, where: str) -> list[Raw]:
    """Return documents with one more, at the `first`, `middle` or `last` place."""
    at = {"first": 0, "middle": len(documents) // 2, "last": len(documents)}[where]
    return [*documents[:at], one, *documents[at:]]


def in_one_file(documents: Sequence[Raw]) -> Files:
    """Return a folder of one file."""
    return {"all.yaml": yaml.safe_dump_all(documents)}


def in_a_folder(documents: Sequence[Raw]) -> Files:
    """Return a folder with a file for each document."""
    return {f"{at}.yaml": yaml.safe_dump(one) for at, one in enumerate(documents)}


def of_files(files: Files) -> Batch:
    """Return a batch as watching a folder makes it."""
    return Batch(tuple(FileText(name, text) for name, text in sorted(files.items())), 1.0)


def change(document: Raw) -> tuple[Kind, Change]:
    """Return what following the API server says of an object."""
    kind = find(document["apiVersion"], document["kind"])
    assert isinstance(kind, Kind)
    metadata = document["metadata"]
    name = Name(metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
    return kind, Change(name, Bytes(json.dumps(document).encode()))


def of_objects(documents: Sequence[Raw]) -> Batch:
    """Return a batch as the API server's events make it."""
    objects, events, problems = Objects(), [], {}
    for document in documents:
        kind, moved = change(document)
        (found,) = objects.read(kind, [moved], 1.0)
        problems[found.ref] = found.problems
        if found.event is not None:
            events.append(found.event)
    return Batch((), 1.0, tuple(events), problems)
