from libs.runtime.settings import describe
from services.ca.settings import Settings


def test_every_setting_is_documented() -> None:
    rows = describe(Settings)
    assert [row.variable for row in rows if not row.doc] == []
    assert {row.variable for row in rows if row.required} == {
        "SEINE_CA_DIR",
        "SEINE_TOKEN_KEYS_FILE",
    }
