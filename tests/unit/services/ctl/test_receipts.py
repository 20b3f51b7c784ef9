import pytest

from libs.model import changes
from libs.protos.findings.v1.findings_pb2 import Finding, Patch
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.ctl import receipts


def test_programs_get_the_name_that_people_see() -> None:
    number = changes.next_number(0, now=1_763_900_000.0, maker=7)
    found = receipts.described(Receipt(change=number, sent=3))
    assert (found["change"], found["sent"], found["rejected"]) == ("0t8qh-2r007", 3, 0)


def test_patches_that_do_not_do_what_they_say_have_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = Finding(kind=Finding.REFUSED, text="no", proxies=1)
    patches = [
        Patch(ref="EnvoyFilter/shop/p", index=0, proxies=2),
        Patch(ref="EnvoyFilter/shop/p", index=1, proxies=2, applied=2, findings=[refused]),
    ]
    receipts._print([Receipt(change=7, causes=["EnvoyFilter/shop/p"], patches=patches)])
    lines = " ".join(capsys.readouterr().out.split())
    assert "spec.configPatches[0]: matches nothing (0/2)" in lines
    assert "spec.configPatches[1]: no (1/2)" in lines
