"""Alerts stand on metrics that there are, and each leads to a page that says what to do."""

import re
from typing import Any

import pytest
import yaml

from tests.tools import reference

ALERTS = reference.ROOT / "deploy" / "monitoring" / "alerts.yaml"
WORDS = {"and", "or", "time", "on", "for", "instance"}


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load(ALERTS.read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_stands_on_metrics_that_are_there(rule: dict[str, Any]) -> None:
    known = set(re.findall(r"\| `(\w+)` \|", reference.metrics()))
    asked = set(re.findall(r"[a-z_]{3,}", rule["expr"])) - WORDS
    assert asked
    assert asked <= known


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_page_that_names_it(rule: dict[str, Any]) -> None:
    page = reference.ROOT / rule["annotations"]["runbook"]
    assert rule["alert"] in page.read_text()
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}


@pytest.mark.parametrize("metric", ["seine_certificate", "istio_agent_certificate", "seine_ca"])
def test_people_are_warned_when_half_a_fifth_and_a_twentieth_are_left(metric: str) -> None:
    shares = {
        float(share)
        for rule in rules()
        for share in re.findall(rf"{metric}_life_left < ([0-9.]+)", rule["expr"])
    }
    assert shares in ({0.45, 0.2, 0.05}, {0.5, 0.2, 0.05})
