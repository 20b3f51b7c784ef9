"""Merging: one answer out of those of all replicas of config-push, which share the proxies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import ParseDict

from libs.model import changes
from libs.protos.findings.v1.findings_pb2 import Patch
from libs.protos.receipts.v1.receipts_pb2 import ClassReceipt, Receipt

Json = Mapping[str, Any]
Connected = Mapping[tuple[str, str], str]
"""When (replica, proxy) connected, as a date of ISO 8601 in UTC."""

Key = tuple[object, ...]

_COUNTS = ("connected", "sent", "acknowledged", "rejected", "pending")


def statuses(pages: Mapping[str, Sequence[Json]], connected: Connected) -> list[Json]:
    """Return one row a proxy, by name; of one that two replicas name, that of the newest stream.

    A proxy that went over to another replica may still be known to the one before.
    """
    found: dict[str, Json] = {}
    for replica, rows in sorted(pages.items()):
        for row in rows:
            name = str(row["proxy"])
            before = found.get(name)
            since = connected.get((replica, name), "")
            if before is None or since > connected.get((before["replica"], name), ""):
                found[name] = {**row, "replica": replica}
    return [found[name] for name in sorted(found)]


def repeated(pages: Mapping[str, Sequence[Json]]) -> bool:
    """Tell whether two replicas name one proxy."""
    names = [row["proxy"] for rows in pages.values() for row in rows]
    return len(set(names)) < len(names)


def connections(pages: Mapping[str, Json]) -> Connected:
    """Return when proxies connected; the last time, if one has several streams."""
    found: dict[tuple[str, str], str] = {}
    for replica, page in pages.items():
        for client in page.get("clients", ()):
            key = (replica, str(client["connectionId"]).rpartition("-")[0])
            found[key] = max(found.get(key, ""), str(client["connectedAt"]))
    return found


def receipts(pages: Iterable[Sequence[Json]]) -> list[Receipt]:
    """Return one receipt a change, oldest first: what all replicas say of it, added up.

    Replicas of config-push may follow different replicas of discovery, which number for themselves:
    changes are the same if they brought the same generations of the same resources, too.
    """
    return sorted(by_change(pages).values(), key=lambda one: one.change)


def by_change(pages: Iterable[Sequence[Json]]) -> dict[Key, Receipt]:
    """Return the same by what tells a change from others, whoever of the replicas knows of it."""
    return {key: summed(parts) for key, parts in parts_by_change(pages).items()}


def parts_by_change(pages: Iterable[Sequence[Json]]) -> dict[Key, list[Receipt]]:
    """Return what each replica that knows of a change says of it."""
    found: dict[Key, list[Receipt]] = {}
    for page in pages:
        seen: Counter[Key] = Counter()
        for data in page:
            one = receipt(data)
            key = _key(one)
            found.setdefault((*key, seen[key]), []).append(one)
            seen[key] += 1
    return found


def _key(one: Receipt) -> Key:
    generations = frozenset(zip(one.causes, one.generations, strict=False))
    told = len(generations) == len(one.causes) > 0 and all(it[1] for it in generations)
    return ("generations", generations) if told else ("number", one.change)


def receipt(data: Json) -> Receipt:
    """Return the receipt of a page, which has the change's name for its number."""
    number = changes.number(str(data.get("change", "")))
    found: Receipt = ParseDict({**data, "change": number}, Receipt(), ignore_unknown_fields=True)
    return found


def summed(parts: Sequence[Receipt]) -> Receipt:
    """Return what several replicas say of one change, added up."""
    found = Receipt()
    found.CopyFrom(min(parts, key=lambda one: one.change))
    for name in _COUNTS:
        setattr(found, name, sum(getattr(one, name) for one in parts))
    found.observed = min((one.observed for one in parts if one.observed), default=0.0)
    found.milliseconds = max(one.milliseconds for one in parts)
    found.settled = all(one.settled for one in parts)
    del found.classes[:], found.rejections[:], found.patches[:]
    found.classes.extend(_classes(parts))
    found.rejections.extend(refusal for one in parts for refusal in one.rejections)
    found.patches.extend(_patches(parts))
    return found


def _classes(parts: Sequence[Receipt]) -> list[ClassReceipt]:
    found: dict[str, ClassReceipt] = {}
    for each in (one for part in parts for one in part.classes):
        total = found.setdefault(each.name, ClassReceipt(name=each.name))
        for name in _COUNTS[1:]:
            setattr(total, name, getattr(total, name) + getattr(each, name))
        total.milliseconds = max(total.milliseconds, each.milliseconds)
        total.types.extend(name for name in each.types if name not in total.types)
    return [found[name] for name in sorted(found)]


def _patches(parts: Sequence[Receipt]) -> list[Patch]:
    """Return patches that do not do what they say.

    One that matches nothing at one replica's proxies does, if another replica does not name it.
    """
    found: dict[tuple[str, int], list[Patch]] = {}
    for each in (one for part in parts for one in part.patches):
        found.setdefault((each.ref, each.index), []).append(each)
    totals = []
    for (ref, index), ones in sorted(found.items()):
        total = Patch(ref=ref, index=index)
        total.proxies = sum(one.proxies for one in ones)
        total.applied = sum(one.applied for one in ones)
        _add_findings(total, ones)
        if total.findings or (not total.applied and len(ones) == len(parts)):
            totals.append(total)
    return totals


def _add_findings(total: Patch, ones: Sequence[Patch]) -> None:
    for finding in (it for one in ones for it in one.findings):
        same = [it for it in total.findings if (it.kind, it.text) == (finding.kind, finding.text)]
        if same:
            same[0].proxies += finding.proxies
        else:
            total.findings.append(finding)
