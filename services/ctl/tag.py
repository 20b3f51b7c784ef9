"""`seinectl tag`: other names for a revision, under which namespaces ask for it.

A tag is made of a webhook configuration, and of a role that lets the webhook mend that very
configuration and no other. Who makes a tag needs the right to make these.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from libs.inject import tags, webhooks, words
from libs.inject.tags import Tag
from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, NotFoundError
from services.ctl import answering, cluster, output
from services.ctl.cluster import Api, Misused
from services.ctl.output import Format

_CONFIGURATIONS = f"/apis/{webhooks.API_VERSION}/mutatingwebhookconfigurations"
_ROLES = "/apis/rbac.authorization.k8s.io/v1"
_FOLDERS = {
    webhooks.KIND: _CONFIGURATIONS,
    "ClusterRole": f"{_ROLES}/clusterroles",
    "ClusterRoleBinding": f"{_ROLES}/clusterrolebindings",
}
_APPLY = "application/apply-patch+yaml"
_MANAGER = {"fieldManager": "seinectl", "force": "true"}
_DEFAULT = "default"
_REFUSED = "pods that ask for it are refused"


def run_set(tag: Tag, api: Api, *, overwrite: bool, force: bool = False) -> int:
    """Make a tag; `tag.client` is taken from the revision.

    `force`: also if nobody answers for the revision.
    """

    async def work(client: Client) -> bool:
        wanted, there = await _wanted(client, tag, overwrite=overwrite)
        why = "" if force else await answering.nobody(client, wanted.client)
        if why:
            text = f"nobody answers for the revision {tag.revision}: {why}"
            raise Misused(f"{text}, so {_REFUSED}", "bring it up first, or say --yes")
        for one in tags.objects(wanted):
            path = f"{_FOLDERS[one['kind']]}/{one['metadata']['name']}"
            await client.request("PATCH", path, params=_MANAGER, body=one, content_type=_APPLY)
        return there

    there = cluster.ask(api, work)
    done = "now stands for" if there else "stands for"
    output.say(f"[green]✓[/] the tag [bold]{tag.name}[/] {done} the revision {tag.revision}")
    output.say(f"  kubectl label namespace NAMESPACE {words.REVISION}={tag.name} --overwrite")
    return output.OK


def run_generate(tag: Tag, api: Api) -> int:
    """Print what makes a tag, as YAML to apply."""

    async def work(client: Client) -> list[dict[str, Any]]:
        return tags.objects((await _wanted(client, tag, overwrite=True))[0])

    made = cluster.ask(api, work)
    plain = json.loads(json.dumps(made))  # nothing is shared, so YAML has no need of aliases
    sys.stdout.write(yaml.safe_dump_all(plain, sort_keys=False, width=100))
    return output.OK


def run_list(api: Api, *, form: Format) -> int:
    """Print tags, the revisions that they stand for, and the namespaces that ask for them.

    Return 1 if a tag leads to nobody.
    """
    rows = cluster.ask(api, _listed)
    if form is Format.JSON:
        output.print_json(rows)
    elif not rows:
        output.say("there are no tags")
    else:
        _print(rows)
    return output.FAILED if any(row["fault"] for row in rows) else output.OK


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    shown = []
    for row in rows:
        cells = [row["tag"], row["revision"], ", ".join(row["namespaces"])]
        unknown = "[yellow]unknown[/]" if row["fault"] is None else "[green]answers[/]"
        state = "[bold red]nobody answers[/]" if row["fault"] else unknown
        shown.append([*map(output.clean, cells), state])
    output.print_table(["TAG", "REVISION", "NAMESPACES", "STATE"], shown)
    for row in rows:
        if row["fault"]:
            tag, fault = output.clean(row["tag"]), output.clean(row["fault"])
            output.say(f"[bold red]✗[/] the tag [bold]{tag}[/] leads to nobody: {fault},")
            output.say(f"  so {_REFUSED}; to mend it: {remedy(row['tag'])}")


def remedy(name: str) -> str:
    """Return the commands of which one mends a tag that leads to nobody."""
    return f"seinectl tag set {name} --overwrite --revision REVISION, or seinectl tag remove {name}"


def run_remove(name: str, api: Api, *, namespace: str, force: bool) -> int:
    """Take a tag away, unless namespaces still ask for it."""

    async def work(client: Client) -> None:
        configuration = tags.configuration_name(name, namespace)
        known = [it["metadata"]["name"] for it in await _configurations(client)]
        if configuration not in known:
            raise Misused(f"there is no tag {name}", "seinectl tag list")
        users = _users(await client.get("/api/v1/namespaces"), name)
        if users and not force:
            text = f"{', '.join(users)} would get no proxies any more"
            raise Misused(text, "label them with another revision, or say --yes")
        role = tags.role_name(name, namespace)
        for kind, one in (
            (webhooks.KIND, configuration),
            ("ClusterRoleBinding", role),
            ("ClusterRole", role),
        ):
            await _delete(client, f"{_FOLDERS[kind]}/{one}")

    cluster.ask(api, work)
    output.say(f"[green]✓[/] the tag [bold]{name}[/] is gone")
    return output.OK


async def _wanted(client: Client, tag: Tag, *, overwrite: bool) -> tuple[Tag, bool]:
    """Return the tag complete, and whether there is one of its name."""
    if wrong := tags.wrong_name(tag.name):
        raise Misused(f"{tag.name!r} is no name of a tag: {wrong}")
    configurations = await _configurations(client)
    own = tags.own_configuration(configurations, tag.revision)
    if own is None:
        text = f"there is no revision {tag.revision}: no injector's configuration has that label"
        raise Misused(text, f"kubectl get {_CONFIGURATIONS.rpartition('/')[2]} --show-labels")
    if tags.own_configuration(configurations, tag.name) is not None:
        raise Misused(f"there is a revision of the name {tag.name}")
    name = tags.configuration_name(tag.name, tag.system_namespace)
    there = any(it["metadata"]["name"] == name for it in configurations)
    if there and not overwrite:
        hint = "--overwrite has it stand for another revision"
        raise Misused(f"there is a tag {tag.name}", hint)
    first = own["webhooks"][0]
    complete = Tag(
        name=tag.name,
        revision=tag.revision,
        client=first["clientConfig"],
        system_namespace=tag.system_namespace,
        namespaces_by_default=tag.namespaces_by_default,
        reinvocation=first.get("reinvocationPolicy", "Never"),
    )
    return complete, there


async def _configurations(client: Client) -> Sequence[Mapping[str, Any]]:
    listed = await client.get(_CONFIGURATIONS)
    return [one for one in listed["items"] if tags.is_injector(one)]


async def _listed(client: Client) -> list[dict[str, Any]]:
    namespaces = await client.get("/api/v1/namespaces")
    found = []
    for one in await _configurations(client):
        labels = one["metadata"].get("labels") or {}
        if name := labels.get(tags.LABEL):
            revision = labels.get(words.REVISION, "")
            row = {"tag": name, "revision": revision, "namespaces": _users(namespaces, name)}
            found.append({**row, "fault": await _fault(client, one)})
    return sorted(found, key=lambda row: str(row["tag"]))


async def _fault(client: Client, configuration: Mapping[str, Any]) -> str | None:
    """Return why nobody answers where a tag leads; None: the caller may not look."""
    try:
        return await answering.nobody(client, answering.target_of(configuration))
    except ForbiddenError:
        return None


def _users(listed: Mapping[str, Any], tag: str) -> list[str]:
    """Return the namespaces that ask for a tag."""
    return [one["metadata"]["name"] for one in listed["items"] if _asks_for(one, tag)]


def _asks_for(namespace: Mapping[str, Any], tag: str) -> bool:
    labels = namespace["metadata"].get("labels") or {}
    switch = labels.get(words.NAMESPACE_SWITCH)
    if switch is not None:
        return tag == _DEFAULT and switch == "enabled"
    return bool(labels.get(words.REVISION) == tag)


async def _delete(client: Client, path: str) -> None:
    try:
        await client.request("DELETE", path)
    except NotFoundError:
        return  # it was never made, or somebody was faster
