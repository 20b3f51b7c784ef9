from libs.model.ids import Ref
from services.local.accesslog import Entry
from services.local.rows import Key, Ledger, Mark, all_right, lost
from services.local.trails import Seen
from services.local.verdict import Fate, Verdict

WEB = "spiffe://cluster.local/ns/shop/sa/web"
ALLOWED = Verdict(Fate.ALLOWED, identity=WEB)
RULE = "ns[shop]-policy[p]-rule[0]"
DENIED = Verdict(Fate.DENIED, (Ref("AuthorizationPolicy/shop/p"),), RULE, WEB)
REFUSED = Verdict(Fate.REFUSED, (Ref("PeerAuthentication/shop/default"),))


def _key(verdict: Verdict, protocol: str = "HTTP") -> Key:
    return Key("web", "reviews", 9080, protocol, "", verdict)


def _seen(
    outcome: str = "ok", *, version: str = "v1", proof: str = WEB, protocol: str = "HTTP"
) -> Seen:
    answered = outcome == "ok"
    return Seen(
        caller="web-v1",
        service="reviews",
        port=9080,
        protocol=protocol,
        outcome=outcome,
        instance=f"reviews-{version}" if answered else "",
        version=version if answered else "",
        proof=proof if answered else "",
    )


def test_an_allowed_call_is_right_when_its_caller_was_proved() -> None:
    ledger = Ledger()
    assert ledger.call(_key(ALLOWED), _seen())
    (row,) = ledger.rows()
    assert (row.mark, row.proved, row.calls) == (Mark.RIGHT, WEB, 1)


def test_an_allowed_call_in_plain_text_is_wrong() -> None:
    ledger = Ledger()
    assert not ledger.call(_key(ALLOWED), _seen(proof=""))
    (row,) = ledger.rows()
    assert (row.mark, row.example) == (Mark.WRONG, "proved nobody")


def test_raw_tcp_waits_for_the_sidecar_to_say_who_was_proved() -> None:
    ledger = Ledger()
    ledger.call(_key(ALLOWED, "TCP"), _seen(proof="", protocol="TCP"))
    assert ledger.rows()[0].mark is Mark.WAITING
    ledger.logged("reviews", Entry(9080, "spiffe://cluster.local/ns/shop/sa/other"))
    assert ledger.rows()[0].mark is Mark.WAITING
    ledger.logged("reviews", Entry(9080, WEB))
    assert (ledger.rows()[0].mark, ledger.rows()[0].proved) == (Mark.RIGHT, WEB)


def test_a_denied_call_is_right_when_the_sidecar_names_the_same_rule() -> None:
    ledger = Ledger()
    assert ledger.call(_key(DENIED), _seen("403 RBAC: access denied"))
    ledger.logged("reviews", Entry(9080, WEB, rule="ns[shop]-policy[other]-rule[0]"))
    assert ledger.rows()[0].mark is Mark.WAITING
    ledger.logged("reviews", Entry(9080, WEB, rule=RULE))
    (row,) = ledger.rows()
    assert (row.mark, row.evidence) == (Mark.RIGHT, RULE)


def test_a_call_that_should_be_denied_is_wrong_when_answered_or_failing_otherwise() -> None:
    for outcome in ("ok", "503 no healthy upstream"):
        ledger = Ledger()
        assert not ledger.call(_key(DENIED), _seen(outcome))
        ledger.logged("reviews", Entry(9080, WEB, rule=RULE))
        assert ledger.rows()[0].mark is Mark.WRONG


def test_plain_text_is_refused_right_when_the_sidecar_says_so() -> None:
    ledger = Ledger()
    ledger.call(_key(REFUSED), _seen("ClientOSError: reset"))
    assert ledger.rows()[0].mark is Mark.WAITING
    ledger.logged("reviews", Entry(refused=True))
    assert ledger.rows()[0].mark is Mark.RIGHT


def test_a_split_is_judged_by_chance_once_there_are_enough_calls() -> None:
    ledger = Ledger()
    for number in range(40):
        ledger.call(_key(ALLOWED), _seen(version="v2" if number % 10 == 0 else "v1"))
    asked = {"reviews": {"v1": 90.0, "v2": 10.0, "v3": 0.0}}
    assert {split.mark for split in ledger.splits(asked)} == {Mark.WAITING}
    for number in range(160):
        ledger.call(_key(ALLOWED), _seen(version="v2" if number % 10 == 0 else "v1"))
    assert [split.calls for split in ledger.splits(asked)] == [180, 20, 0]
    assert {split.mark for split in ledger.splits(asked)} == {Mark.RIGHT}
    other = {"reviews": {"v1": 50.0, "v2": 50.0}}
    assert {split.mark for split in ledger.splits(other)} == {Mark.WRONG}


def test_a_version_of_no_weight_gets_nothing_at_all() -> None:
    ledger = Ledger()
    for number in range(1000):
        ledger.call(_key(ALLOWED), _seen(version="v2" if number == 7 else "v1"))
    first, second = ledger.splits({"reviews": {"v1": 100.0, "v2": 0.0}})
    assert (first.mark, second.mark) == (Mark.WRONG, Mark.WRONG)


def test_everything_is_right_only_if_there_is_something() -> None:
    ledger = Ledger()
    assert not all_right(ledger.rows(), [])
    ledger.call(_key(ALLOWED), _seen())
    assert all_right(ledger.rows(), [])
    ledger.call(_key(DENIED), _seen())
    assert not all_right(ledger.rows(), [])
    ledger.clear()
    assert ledger.rows() == []


def test_a_call_is_lost_when_it_should_have_arrived_and_no_policy_stopped_it() -> None:
    assert lost(ALLOWED, _seen("503 upstream connect error"))
    assert not lost(ALLOWED, _seen("403 RBAC: access denied"))
    assert not lost(ALLOWED, _seen())
    assert not lost(DENIED, _seen("503 upstream connect error"))
