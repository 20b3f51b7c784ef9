"""Each rule of each kind alone: a spec that keeps it, one that breaks it, and what is said then.

The rows are in `rules`, one file a kind. Of every row it was asked whether Istio agrees: it accepts
what is good, and refuses or warns of what is bad, as we do. Where it does not, the difference is
one of `tests.tools.deviations`.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from libs.api.check import check
from libs.xds.generate.patches.fits import fits
from tests.support.rulings import manifest

FOLDER = Path(__file__).parent / "rules"


class Rule(NamedTuple):
    """One row."""

    kind: str
    good: str
    bad: str
    says: tuple[str, ...]


def _rules() -> dict[str, Rule]:
    found = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        kind = "".join(word.capitalize() for word in file.stem.split("_"))
        for row in yaml.safe_load(file.read_text()):
            rule = Rule(kind, row["good"], row["bad"], tuple(row["says"]))
            assert found.setdefault(f"{kind}: {row['rule']}", rule) is rule
    return found


RULES = _rules()


def _said(kind: str, spec: str) -> tuple[str, ...]:
    """Return the errors; without any, the warnings."""
    (found,) = check(manifest(kind, spec), "test.yaml", fits=fits)
    errors = tuple(f"{error.path} {error.reason}" for error in found.errors)
    return errors or tuple(f"warning {it.path} {it.reason}" for it in found.warnings)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule(rule: Rule) -> None:
    kept, broken = _said(rule.kind, rule.good), _said(rule.kind, rule.bad)
    assert all(line.startswith("warning ") for line in kept)
    assert tuple(line for line in broken if line not in kept) == rule.says
    assert rule.says


def test_each_kind_of_istio_has_rules() -> None:
    assert len(RULES) > 200
    assert len({rule.kind for rule in RULES.values()}) == 15
