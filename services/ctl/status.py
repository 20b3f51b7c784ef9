"""`seinectl proxy-status`: whether each proxy has what it should, type by type."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from libs.runtime.localmesh import LocalMesh
from services.ctl import mesh, output
from services.ctl.mesh import RequestError
from services.ctl.output import Format

TYPES = {"CDS": "cluster", "LDS": "listener", "EDS": "endpoint", "RDS": "route"}
NOT_SENT, SYNCED, ERROR = "NOT SENT", "SYNCED", "ERROR"
NOT_CONNECTED = "NOT CONNECTED"
_COLOURS = {SYNCED: "green", ERROR: "bold red", NOT_CONNECTED: "bold red", "STALE": "yellow"}

Row = Mapping[str, object]


def run(state: Path | None, form: Format) -> int:
    """Print the status; return 1 if a proxy is missing or has rejected something."""
    local = mesh.find(state)
    try:
        found = rows(local)
    except RequestError as error:
        output.fail(str(error), hint="`seinectl check` says more.")
    if form is Format.JSON:
        output.print_json(found)
    else:
        _print(found)
    bad = {ERROR, NOT_CONNECTED}
    return output.FAILED if any(bad & {row[name] for name in TYPES} for row in found) else output.OK


def rows(local: LocalMesh) -> list[Row]:
    """Return one row a proxy, also for those that should be connected and are not.

    Raises:
        RequestError: config-push does not answer.

    """
    body = mesh.get_debug(local, "config-push", "/debug/syncz")
    statuses: Sequence[Row] = json.loads(body)
    found = [_row(status) for status in statuses]
    connected = {row["proxy"] for row in found}
    missing = [_missing(name) for name in local.workloads if name not in connected]
    return sorted([*found, *missing], key=lambda row: str(row["proxy"]))


def _row(status: Row) -> Row:
    return {
        "proxy": status["proxy"],
        **{name: status.get(f"{key}_status", NOT_SENT) for name, key in TYPES.items()},
        "version": status.get("istio_version", ""),
        "identity": status.get("identity", ""),
        "class": status.get("class", ""),
        "errors": {
            name: {
                "text": status[f"{key}_error"],
                "resources": status.get(f"{key}_error_resources", []),
                "sources": status.get(f"{key}_error_sources", []),
            }
            for name, key in TYPES.items()
            if status.get(f"{key}_error")
        },
    }


def _missing(name: str) -> Row:
    statuses = dict.fromkeys(TYPES, NOT_CONNECTED)
    return {"proxy": name, **statuses, "version": "", "identity": "", "class": "", "errors": {}}


def _print(found: Sequence[Row]) -> None:
    cells = [
        [
            output.clean(str(row["proxy"])),
            *(_status(row[name]) for name in TYPES),
            str(row["class"]),
        ]
        for row in found
    ]
    output.print_table(["PROXY", *TYPES, "CLASS"], cells)
    for row in found:
        errors = row["errors"]
        for name, error in errors.items() if isinstance(errors, dict) else ():
            sources = ", ".join(error["sources"]) or ", ".join(error["resources"])
            output.say(
                f"[red]{output.clean(str(row['proxy']))} {name}[/] from "
                f"{output.clean(sources)}: {output.clean(error['text'])}"
            )


def _status(status: object) -> str:
    text = str(status)
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text
