"""How much chance a test is given: `examples` of hypothesis, and how many random walks.

Ordinary runs try few and are fast; `pytest --explore N` (`make explore`) tries N times as many.
No example has a deadline: how long one takes says more about the machine than about what is tested.
With CI=true in the environment an ordinary run always tries the same ones, so that a red build is
the fault of what was changed; new ones are looked for by exploring.
"""

from hypothesis import settings

_USUAL = 100  # hypothesis's own


class _Chance:
    factor = 1


def examples(usual: int) -> int:
    """Return how many examples to try where `usual` are enough on an ordinary day."""
    return usual * _Chance.factor


def configure(factor: int, *, fixed: bool) -> None:
    """Set the factor, and whether the same examples are tried each time. Before tests are read."""
    _Chance.factor = factor
    patient = settings(deadline=None, print_blob=True)
    settings.register_profile("usual", patient)
    settings.register_profile("explore", patient, max_examples=_USUAL * factor)
    settings.register_profile("fixed", patient, derandomize=True, database=None)
    settings.load_profile("explore" if factor > 1 else "fixed" if fixed else "usual")


def exploring() -> bool:
    """Tell whether more than the usual is tried."""
    return _Chance.factor > 1
