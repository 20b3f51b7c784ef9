"""Prometheus finds one page, with the application's in it, and nothing is asked in a circle."""

import json

import pytest

from libs.api.report import Report
from libs.inject.scraping import Scraping, merged, restored
from libs.model.ids import Ref
from services.agent.scrape import target

OWN = (15020, 15021, 15090)
TURNED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": "15020",
    "prometheus.io/path": "/stats/prometheus",
}


def _merged(**said: str) -> Scraping:
    annotations = {f"prometheus.io/{name}": text for name, text in said.items()}
    return merged(annotations, OWN, Report(Ref("")))


def test_an_application_that_is_scraped_is_merged_in() -> None:
    found = _merged(scrape="true", port="8080", path="/m")
    assert found.annotations == TURNED
    assert json.loads(found.variable) == {"scrape": "true", "port": "8080", "path": "/m"}
    asked = target(found.variable, refused=frozenset(OWN))
    assert asked is not None
    assert (asked.port, asked.path) == (8080, "/m")


def test_without_a_wish_only_the_proxy_is_scraped() -> None:
    assert _merged() == Scraping(TURNED, said={})
    assert _merged(port="8080").variable == ""


@pytest.mark.parametrize("value", ["false", "False"])
def test_who_is_not_to_be_scraped_is_not(value: str) -> None:
    assert _merged(scrape=value) == Scraping()


@pytest.mark.parametrize("port", ["15020", "15021", "15090"])
def test_our_own_ports_are_not_asked_in_a_circle(port: str) -> None:
    found = _merged(scrape="true", port=port)
    assert (found.annotations, found.variable) == (TURNED, "")


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1", "8080x", "9" * 500, ""])
def test_a_port_that_is_none_is_warned_of_and_left_alone(port: str) -> None:
    report = Report(Ref(""))
    assert merged({"prometheus.io/port": port}, OWN, report) == Scraping()
    assert report.problems[0].path == "metadata.annotations[prometheus.io/port]"


def test_what_was_said_can_be_put_back() -> None:
    before = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "team": "a"}
    found = merged(before, OWN, Report(Ref("")))
    assert restored({**before, **found.annotations}, found.said) == before
    assert restored(before, None) == before
