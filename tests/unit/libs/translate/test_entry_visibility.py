"""Who sees what ServiceEntries declare, at most."""
# ruff: noqa: E501 - paths of fields are long

import pytest

from libs.api import mesh_parts as api
from libs.model.ids import Ref
from libs.model.settings import EntryVisibility
from libs.model.workload import Namespace
from libs.translate.entry_visibility import capped, read

SHOP = Namespace(name="shop", ref=Ref("Namespace//shop"), labels={"tier": "a"})


def rules(default: api.Visibility, *policies: api.VisibilityPolicy) -> EntryVisibility:
    found = read(api.ServiceEntryVisibility(default, True, policies))
    assert found is not None
    return found


def policy(visibility: str, *rule: api.VisibilityRule) -> api.VisibilityPolicy:
    return api.VisibilityPolicy(api.Visibility(visibility), rule)


def where(operator: str, *values: str) -> api.VisibilityRule:
    wanted = api.Requirement("tier", operator, values)
    return api.VisibilityRule(api.LabelSelector(match_expressions=(wanted,)))


def test_rules_that_sidecars_do_not_follow_are_none() -> None:
    assert read(api.ServiceEntryVisibility(api.Visibility.NONE)) is None


@pytest.mark.parametrize(
    ("declared", "at_home", "nowhere"),
    [
        (("*",), (".",), ("~",)),
        ((".", "other"), (".",), ("~",)),
        (("shop",), (".",), ("~",)),
        (("other",), ("~",), ("~",)),
        (("~",), ("~",), ("~",)),
    ],
)
def test_a_cap_only_narrows(
    declared: tuple[str, ...], at_home: tuple[str, ...], nowhere: tuple[str, ...]
) -> None:
    assert capped(declared, rules(api.Visibility.PUBLIC), SHOP) == declared
    assert capped(declared, rules(api.Visibility.VISIBILITY_UNSPECIFIED), SHOP) == declared
    assert capped(declared, rules(api.Visibility.NAMESPACE), SHOP) == at_home
    assert capped(declared, rules(api.Visibility.NONE), SHOP) == nowhere


# proves: MeshConfig serviceEntryVisibility.policies[].matchingRules[].namespaceSelector.matchExpressions[].operator
@pytest.mark.parametrize(
    ("rule", "covered"),
    [
        (where("In", "a"), True),
        (where("NotIn", "a"), False),
        (where("Exists"), True),
        (where("DoesNotExist"), False),
        (api.VisibilityRule(api.LabelSelector()), True),
        (api.VisibilityRule(), False),
    ],
)
def test_the_first_policy_counts_whose_rules_all_cover_the_namespace(
    rule: api.VisibilityRule, covered: bool
) -> None:
    hidden = rules(
        api.Visibility.PUBLIC,
        policy("PUBLIC", where("In", "b")),
        policy("NONE", where("Exists"), rule),
        policy("NAMESPACE"),
    )
    assert capped(("*",), hidden, SHOP) == (("~",) if covered else (".",))
