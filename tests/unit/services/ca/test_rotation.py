"""The steps of a rotation, as data: each Secret that they leave behind can be read again."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pki import authority, keys, verify
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError
from libs.pki.slots import DAY
from services.ca import rotation
from services.ca.rotation import State
from tests.support.pki import BOB, NOW, chain_for, root

LONGEST = 86_400
SETTLE = 120.0


def fresh(now: float = NOW) -> Authority:
    return authority.generate("cluster.local", now=now)


def later(after: float, now: float) -> Authority:
    lifetime = max(authority.ROOT_SECONDS, after - now + 300.0)
    return authority.generate("cluster.local", now=now, lifetime=lifetime)


def begun() -> State:
    return rotation.begin(fresh(), longest=LONGEST)


def step(
    state: State, now: float, *, proved: bool = False, asked: str = ""
) -> tuple[str, State] | None:
    def make(after: float) -> Authority:
        return later(after, now)

    return rotation.next_step(state, now=now, proved=proved, asked=asked, settle=SETTLE, make=make)


def prepared() -> State:
    return rotation.prepare(begun(), fresh(NOW + 1), now=NOW + 1)


def activated() -> State:
    return rotation.activate(prepared(), now=NOW + 2, heeded="one", settle=SETTLE)


@pytest.mark.parametrize("make", [begun, prepared, activated])
def test_a_secret_holds_the_whole_state(make: Callable[[], State]) -> None:
    state = make()
    again = rotation.decode(rotation.encode(state), now=NOW + 3, longest=1)
    assert again.record == state.record
    assert again.signer.roots == state.signer.roots
    assert keys.spki(again.signer.key.public_key()) == keys.spki(state.signer.key.public_key())
    assert (again.coming is None) == (state.coming is None)


def test_a_secret_of_istio_is_taken_over() -> None:
    content = authority.to_content(root())
    for name in ("root-cert.pem", "cert-chain.pem"):
        content[name] = b""
    state = rotation.decode(content, now=NOW, longest=LONGEST)
    assert (state.record.generation, state.record.longest) == (1, LONGEST)
    assert len(state.signer.roots) == 1


def test_a_root_that_has_expired_is_read_so_that_it_can_be_replaced() -> None:
    state = begun()
    late = NOW + 20 * 365 * DAY
    again = rotation.decode(rotation.encode(state), now=late, longest=LONGEST)
    name, after = step(again, late) or ("", again)
    assert name == "prepare"
    name, after = step(after, late) or ("", after)
    assert name == "activate"  # without proof: nobody else can sign
    assert chain_for(BOB, keys.generate(), after.signer, now=late)


def test_what_one_signer_signed_verifies_under_every_bundle_until_it_is_retired() -> None:
    states = [begun()]
    states.append(rotation.prepare(states[0], fresh(NOW + 1), now=NOW + 1))
    states.append(rotation.activate(states[1], now=NOW, heeded="", settle=SETTLE))
    for state in states:
        for signer in (states[0].signer, states[2].signer):
            if signer.certificate in state.signer.roots:
                verify.chain(signer.chain, state.signer.roots, now=NOW)
    assert [len(state.signer.roots) for state in states] == [1, 2, 2]
    last = NOW + SETTLE + LONGEST + DAY
    assert step(states[2], last - 1) is None
    name, after = step(states[2], last) or ("", states[2])
    assert name == "retire"
    assert after.signer.roots == (states[2].signer.certificate,)


def test_nobody_signs_with_a_root_that_is_not_proved() -> None:
    state = prepared()
    assert step(state, NOW + 3, asked="now") is None
    assert (step(state, NOW + 3, asked="now", proved=True) or ("",))[0] == "activate"
    assert step(state, NOW + 3, proved=True) is None  # nobody asked, and it is not due


def test_one_request_is_carried_out_once() -> None:
    name, state = step(begun(), NOW, asked="one") or ("", begun())
    assert name == "prepare"
    name, state = step(state, NOW, asked="one", proved=True) or ("", state)
    assert name == "activate"
    assert step(state, NOW, asked="one", proved=True) is None
    assert (step(state, NOW, asked="two") or ("",))[0] == "prepare"


def broken(change: Callable[[dict[str, bytes]], object]) -> dict[str, bytes]:
    content = rotation.encode(prepared())
    change(content)
    return content


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update({"next-key.pem": keys.to_pem(keys.generate())}),
        lambda it: it.update({"next-cert.pem": root("other").root_pem}),
        lambda it: it.update({"root-cert.pem": it["ca-cert.pem"]}),
        lambda it: it.update({"rotation.json": b"{"}),
        lambda it: it.pop("next-key.pem"),
        lambda it: it.pop("ca-key.pem"),
        lambda it: it.update(authority.to_content(root("other"))),
    ],
    ids=["next key", "next root", "bundle", "record", "no next key", "no key", "signer"],
)
def test_what_does_not_fit_together_is_refused(
    change: Callable[[dict[str, bytes]], object],
) -> None:
    with pytest.raises(AuthorityError):
        rotation.decode(broken(change), now=NOW, longest=LONGEST)


@given(st.lists(st.tuples(st.floats(0, 400 * DAY), st.booleans(), st.booleans()), max_size=25))
def test_whatever_comes_there_is_always_a_signer_that_its_bundle_trusts(
    turns: list[tuple[float, bool, bool]],
) -> None:
    state, now, generation = STATE, NOW, 0
    for number, (seconds, proved, asked) in enumerate(turns):
        now += seconds
        done = step(state, now, proved=proved, asked=str(number) if asked else "")
        if done is None:
            continue
        name, after = done
        generation += 1
        assert after.record.generation == generation + 1
        assert after.signer.certificate in after.signer.roots
        if name == "activate" and now < state.record.slots.current.not_after:
            assert proved
            assert state.signer.certificate in after.signer.roots
        state = after


STATE = begun()
