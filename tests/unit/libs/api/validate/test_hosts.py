import sys
import time

import pytest

from libs.api.validate.hosts import Cover, is_address, overlapping, wrong_name, wrong_pattern


@pytest.mark.parametrize(
    "host",
    ["reviews", "a.b", "A.B", "*", "*.a.b", "*-a.b", "*a.b", "a.b.", "123", "a-b.c", "a" * 63],
)
def test_names_and_wildcards_of_the_first_label_are_patterns(host: str) -> None:
    assert wrong_pattern(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a.*",
        "a*.b",
        "**",
        "*.*.a",
        "-a",
        "a-",
        "a_b",
        "a..b",
        ".a",
        "a.1",
        "1.2.3.4",
        "a b",
        "a" * 64,
        "a." * 128 + "a",
    ],
)
def test_all_else_is_no_pattern(host: str) -> None:
    assert wrong_pattern(host)


def test_names_have_no_wildcards() -> None:
    assert wrong_name("a.b") == ""
    assert wrong_name("*.b")


def test_addresses() -> None:
    assert all(map(is_address, ["1.2.3.4", "::1", "fe80::1%eth0"]))
    assert not any(map(is_address, ["", "1.2.3", "a", "1.2.3.4/8", "01.2.3.4"]))


@pytest.mark.parametrize(
    ("patterns", "host", "covered"),
    [
        (["a.b"], "a.b", True),
        (["a.b"], "x.a.b", False),
        (["*.b"], "a.b", True),
        (["*.b"], "b", False),
        (["*.b"], "*.a.b", True),
        (["*.a.b"], "*.b", False),
        (["*"], "*.b", True),
        (["*"], "a", True),
        (["a.b"], "*.b", False),
        (["c", "*-x.b"], "a-x.b", True),
        ([], "a", False),
    ],
)
def test_covering(patterns: list[str], host: str, covered: bool) -> None:
    assert Cover(patterns).covers(host) is covered


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (["a", "b"], []),
        (["a", "b", "a"], [2]),
        (["a.b", "*.b"], [0]),
        (["*.b", "a.b"], [1]),
        (["*.a.b", "*.b", "c.d"], [0]),
        (["*.a.b", "*.b", "x.a.b"], [0, 2]),
        (["*.b", "*.b"], [1]),
        (["b", "*.b"], []),
    ],
)
def test_overlaps(hosts: list[str], found: list[int]) -> None:
    assert overlapping(hosts) == found


def test_many_hosts_take_linear_time() -> None:
    hosts = [f"h{n}.{'x' * (n % 50 + 1)}.com" for n in range(20_000)]
    hosts += [f"*.{'y' * (n % 60 + 1)}{n}.com" for n in range(20_000)]
    start = time.process_time()
    assert overlapping(hosts) == []
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")
