from libs.model import changes
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.ctl import receipts


def test_programs_get_the_name_that_people_see() -> None:
    number = changes.next_number(0, now=1_763_900_000.0, maker=7)
    found = receipts.described(Receipt(change=number, sent=3))
    assert (found["change"], found["sent"], found["rejected"]) == ("0t8qh-2r007", 3, 0)
