"""`seinectl proxy-status`: whether each proxy has what it should, type by type."""

from collections.abc import Mapping, Sequence

from services.ctl import output
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.output import Format
from services.ctl.plane import Plane
from services.ctl.where import Where

TYPES = {"CDS": "cluster", "LDS": "listener", "EDS": "endpoint", "RDS": "route"}
NOT_SENT, SYNCED, ERROR = "NOT SENT", "SYNCED", "ERROR"
NOT_CONNECTED = "NOT CONNECTED"
_COLOURS = {SYNCED: "green", ERROR: "bold red", NOT_CONNECTED: "bold red", "STALE": "yellow"}

Row = Mapping[str, object]


def run(where: Where, form: Format) -> int:
    """Print the status; return 1 if a proxy or a replica is missing, or something was rejected."""
    with opened(where) as plane:
        try:
            found = [row for row in rows(plane) if _is_of(where.namespace, row)]
        except RequestError as error:
            output.fail(str(error), hint="`seinectl check` says more.")
        if form is Format.JSON:
            output.print_json(found)
        else:
            _print(found)
        bad = any({ERROR, NOT_CONNECTED} & {row[name] for name in TYPES} for row in found)
        return output.FAILED if bad or plane.missing else output.OK


def _is_of(namespace: str, row: "Row") -> bool:
    return not namespace or str(row["proxy"]).rpartition(".")[2] == namespace


def rows(plane: Plane) -> list[Row]:
    """Return one row a proxy, also for those that should be connected and are not.

    Raises:
        RequestError: config-push does not answer.

    """
    found = [_row(status) for status in plane.statuses()]
    connected = {row["proxy"] for row in found}
    missing = [_missing(name) for name in plane.expected if name not in connected]
    return sorted([*found, *missing], key=lambda row: str(row["proxy"]))


def _row(status: Row) -> Row:
    return {
        "proxy": status["proxy"],
        **{name: status.get(f"{key}_status", NOT_SENT) for name, key in TYPES.items()},
        "version": status.get("istio_version", ""),
        "identity": status.get("identity", ""),
        "class": status.get("class", ""),
        "replica": status.get("replica", ""),
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
    unknown = dict.fromkeys(("version", "identity", "class", "replica"), "")
    return {"proxy": name, **statuses, **unknown, "errors": {}}


def _print(found: Sequence[Row]) -> None:
    in_cluster = any(row["replica"] for row in found)
    cells = [
        [
            output.clean(str(row["proxy"])),
            *(_status(row[name]) for name in TYPES),
            str(row["class"]),
            *([str(row["replica"])] if in_cluster else []),
        ]
        for row in found
    ]
    output.print_table(["PROXY", *TYPES, "CLASS", *(["REPLICA"] if in_cluster else [])], cells)
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
