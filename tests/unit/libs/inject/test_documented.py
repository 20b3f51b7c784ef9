"""What docs/injection.md shows works as it says."""

import re
from pathlib import Path

import yaml

from libs.api.kubernetes import ConfigMap
from libs.api.resource import Metadata
from libs.inject import config, expressions, words
from libs.inject.scene import Settings
from tests.support.pods import names, pod, proxy, result, variables

PAGE = (Path(__file__).parents[4] / "docs/injection.md").read_text()
SHOWN = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def _settings() -> Settings:
    found, problems = config.read(ConfigMap(Metadata("x"), yaml.safe_load(SHOWN[0])["data"]))
    assert not problems
    return Settings(config=found)


def test_the_example_adds_what_it_says() -> None:
    asked = yaml.safe_load(SHOWN[1])["metadata"]["annotations"]
    made = result(pod(annotations=asked), settings=_settings())
    assert names(made) == ["app", "collector"]
    (collector,) = (one for one in made["spec"]["containers"] if one["name"] == "collector")
    assert collector["image"] == "registry.example/mesh/collector:default"
    assert collector["resources"] == {"requests": {"cpu": "10m"}}
    assert variables(proxy(made))["TIER"] == "none"
    assert "TRACE" not in variables(proxy(made))


def test_conditions_and_aliases() -> None:
    annotations = {words.TEMPLATES: "watched", "example.com/trace": "true"}
    made = result(pod(annotations=annotations, labels={"tier": "front"}), settings=_settings())
    assert variables(proxy(made))["TIER"] == "front"
    assert variables(proxy(made))["TRACE"] == "1"


def test_every_function_is_named() -> None:
    for name in expressions.FUNCTIONS:
        assert f"`{name}`" in PAGE
