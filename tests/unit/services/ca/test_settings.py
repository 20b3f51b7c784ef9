from pathlib import Path

import pytest

from libs.runtime.settings import describe
from services.ca.settings import Settings


def test_every_setting_is_documented() -> None:
    rows = describe(Settings)
    assert all(row.doc for row in rows)
    assert not any(row.required for row in rows)


@pytest.mark.parametrize("given", [{"ca_dir": Path("a")}, {"token_keys_file": Path("a")}])
def test_a_ca_without_a_cluster_needs_a_folder_and_keys(given: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="SEINE_TOKEN_KEYS_FILE"):
        Settings(**given)
