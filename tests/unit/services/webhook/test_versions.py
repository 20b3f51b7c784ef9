"""Native sidecars by the version of the API server."""

import pytest

from services.webhook.versions import is_since


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"major": "1", "minor": "36"}, True),
        ({"major": "1", "minor": "33+"}, True),
        ({"major": "1", "minor": "32"}, False),
        ({"major": "2", "minor": "0"}, True),
        ({"major": "", "minor": ""}, None),
        ({}, None),
        (None, None),
        ("1.36", None),
    ],
)
def test_the_server_s_own_words(said: object, expected: bool | None) -> None:
    assert is_since(said) is expected
