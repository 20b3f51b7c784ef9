"""`seinectl receipts`: what became of each change: who took it, who refused it, and why."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict

from libs.model import changes
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.ctl import output
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.output import Format
from services.ctl.where import Where

COLUMNS = ("CHANGE", "WHEN", "CAUSES", "SENT", "ACKNOWLEDGED", "REJECTED", "PENDING", "MS")


def run(where: Where, ref: str, form: Format, *, watch: bool) -> int:
    """Print the receipts that are held, or each one as it is settled until interrupted."""
    with opened(where) as plane:
        try:
            if watch:
                plane.watch(ref, _print_json_line if form is Format.JSON else _print_line)
                return output.OK
            found = plane.receipts(ref)
        except RequestError as error:
            output.fail(str(error), hint="`seinectl check` says more.")
        if form is Format.JSON:
            output.print_json([described(receipt) for receipt in found])
        else:
            _print(found)
        refused = any(receipt.rejected for receipt in found[-1:])
        return output.FAILED if refused or plane.missing else output.OK


def described(receipt: Receipt) -> dict[str, object]:
    """Return a receipt as JSON data, zeros included."""
    found = MessageToDict(
        receipt, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {**found, "change": changes.name(receipt.change)}


def _print_json_line(receipt: Receipt) -> None:
    sys.stdout.write(json.dumps(described(receipt)) + "\n")
    sys.stdout.flush()


def _print_line(receipt: Receipt) -> None:
    output.say("  ".join(_row(receipt)))
    _print_rejections([receipt])
    _print_patches([receipt])


def _print(found: Sequence[Receipt]) -> None:
    output.print_table(COLUMNS, [_row(receipt) for receipt in found])
    _print_rejections(found)
    _print_patches(found)


def _row(receipt: Receipt) -> list[str]:
    when = datetime.fromtimestamp(receipt.observed, UTC).astimezone().strftime("%H:%M:%S")
    rejected = f"[red]{receipt.rejected}[/]" if receipt.rejected else "0"
    return [
        changes.name(receipt.change),
        when if receipt.observed else "at start",
        output.clean(", ".join(receipt.causes[:4]) + (" …" if len(receipt.causes) > 4 else "")),
        f"{receipt.sent}/{receipt.connected}",
        str(receipt.acknowledged),
        rejected,
        str(receipt.pending),
        f"{receipt.milliseconds:.0f}",
    ]


def _print_rejections(found: Sequence[Receipt]) -> None:
    for receipt in found:
        for rejection in receipt.rejections:
            sources = ", ".join(rejection.sources) or rejection.type_url
            output.say(
                f"[red]change {changes.name(receipt.change)}: {output.clean(rejection.proxy)} "
                f"rejected {output.clean(sources)}[/]: {output.clean(rejection.text)}"
            )


def _print_patches(found: Sequence[Receipt]) -> None:
    """Print what became of patches that do not do what they say, one line each."""
    for receipt in found:
        for patch in receipt.patches:
            place = f"spec.configPatches[{patch.index}]" if patch.index >= 0 else "its patches"
            said = [f"{one.text} ({one.proxies}/{patch.proxies})" for one in patch.findings]
            words = "; ".join(said) or f"matches nothing (0/{patch.proxies})"
            output.say(
                f"[yellow]change {changes.name(receipt.change)}: "
                f"{output.clean(patch.ref)} {place}[/]: {output.clean(words)}"
            )
