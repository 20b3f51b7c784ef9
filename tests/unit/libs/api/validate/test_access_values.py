import pytest

from libs.api.validate import access_values as values


@pytest.mark.parametrize(
    ("wrong", "good", "bad"),
    [
        (values.wrong_port, "80", "65536"),
        (values.wrong_port, "0", "-1"),
        (values.wrong_port, "65535", "+80"),
        (values.wrong_port, "080", "8 0"),
        (values.wrong_account, "a", "a*"),
        (values.wrong_account, "a/b", "a/b/c"),
        (values.wrong_account, "a.b/c", "/b"),
        (values.wrong_account, "a", "a/"),
        (values.wrong_trust_domain, "a.b", "a/b"),
        (values.wrong_trust_domain, "*", "**"),
        (values.wrong_trust_domain, "a*", "a*b"),
        (values.wrong_trust_domain, "*a", "*a*"),
        (values.wrong_block, "::1", "::1/129"),
        (values.wrong_path, "/a", "/{a}"),
        (values.wrong_path, "/a/{*}/b", "/a{*}/b"),
        (values.wrong_path, "/a/{**}", "/{**}/{*}"),
        (values.wrong_path, "/{**}/a", "/{**}/{**}"),
        (values.wrong_path, "/{*}/a", "/{*}//a"),
        (values.wrong_path, "/x/*", "/{*}/*"),
        (values.wrong_path, "*/x", "/{"),
    ],
)
def test_values(wrong: values.Wrong, good: str, bad: str) -> None:
    assert wrong(good) == ""
    assert wrong(bad) != ""
