import json
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.api import reasons
from libs.api.composer import MAX_DEPTH, MAX_FAULTS, MAX_PATH
from libs.api.documents import MAX_BYTES, MAX_DOCUMENTS, Document, read

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: here}\n"
SIZE = MAX_BYTES - 16


def problems(documents: list[Document]) -> list[tuple[int, str, str]]:
    return [(p.line, p.path, p.reason) for document in documents for p in document.problems]


def refs(documents: list[Document]) -> list[str]:
    return [document.ref for document in documents if document.raw is not None]


def test_documents_are_counted_without_the_empty_ones() -> None:
    text = f"# nothing\n---\n{POD}---\n---\n# nothing\n...\n---\n{POD}"
    assert [(document.index, document.line) for document in read(text, "f")] == [(0, 3), (1, 11)]


@pytest.mark.parametrize("text", ["", "\n# comment\n%YAML 1.1\n---\n\n...\n", "\t\n", "---", "..."])
def test_a_file_of_nothing_holds_nothing(text: str) -> None:
    assert read(text, "f") == []


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_every_line_break_is_one(line_break: str) -> None:
    text = f"---\n{POD}---\n{POD}".replace("\n", line_break)
    assert refs(read(text, "f")) == ["Pod/here/a"] * 2


def test_a_byte_order_mark_is_no_content() -> None:
    assert refs(read("\ufeff" + POD, "f")) == ["Pod/here/a"]


def test_json_is_read_too() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": 'a"\n/ü\t', "x": [1, 2.5, None]}}
    for indent in (None, 1, "\t"):
        (document,) = read(json.dumps(pod, indent=indent), "f")
        assert document.raw == pod


def test_what_looks_like_a_document_in_a_text_ends_it_as_yaml_says() -> None:
    # The same as kubectl does: no text can hold a line that begins with ---.
    assert len(read("a: |\n  b\n---\nc: 1\n", "f")) == 2
    assert len(read("a: |\n  b\n  ---\n  c\n", "f")) == 1
    assert len(read("a: 1\n---b: 1\n", "f")) == 1


@pytest.mark.parametrize(
    ("bad", "line", "path", "reason"),
    [
        ("a: [1, 2\nb: {", 4, "a[2]", reasons.INVALID_YAML),
        ("a: b: c", 3, "", reasons.INVALID_YAML),
        ("a:\n\t- b", 4, "a", reasons.INVALID_YAML),
        ("a: 1\nb: *x", 4, "b", reasons.ALIAS),
        ("a: &x [1]\nb: *x", 4, "b", reasons.ALIAS),
        ("<<: {a: 1}", 3, "", reasons.ALIAS),
        ("a: 1\nb: 2\na: 3", 5, "a", reasons.DUPLICATE_KEY),
        ("a: {b: 1, 'b': 2}", 3, "a.b", reasons.DUPLICATE_KEY),
        ("8080: 1\n'8080': 2", 4, "[8080]", reasons.DUPLICATE_KEY),
        ("[1, 2]: 3", 3, "", reasons.INVALID_YAML),
        ("~: 3", 3, "", reasons.INVALID_YAML),
        ("a: .nan", 3, "a", reasons.INVALID_YAML),
        ("a: !!binary eA==", 3, "a", reasons.INVALID_YAML),
        ("a: \x00", 3, "", reasons.INVALID_YAML),
        ("a: \ud800", 2, "", reasons.INVALID_YAML),
        ("just a text", 3, "", reasons.NOT_AN_OBJECT),
        ("- a\n- list", 3, "", reasons.NOT_AN_OBJECT),
        ("a: " + "[" * 100, 3, "a" + "[0]" * (MAX_PATH - 1), reasons.TOO_DEEP),
        ("a: " + "x" * MAX_BYTES, 2, "", reasons.TOO_LARGE),
    ],
)
def test_a_broken_document_leaves_its_siblings(bad: str, line: int, path: str, reason: str) -> None:
    documents = read(f"{{kind: A}}\n---\n{bad}\n---\n{POD}", "f")
    assert problems(documents) == [(line, path, reason)]
    assert [document.index for document in documents] == [0, 1, 2]
    assert refs(documents)[-1] == "Pod/here/a"


def test_nesting_up_to_the_limit_is_read() -> None:
    (document,) = read("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "f")
    assert [problem.reason for problem in document.problems] == [reasons.NOT_AN_OBJECT]
    (document,) = read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "f")
    assert document.problems == ()


def test_an_anchor_that_nobody_uses_is_harmless() -> None:
    (document,) = read("kind: &k A\n", "f")
    assert document.raw == {"kind": "A"}


def test_a_broken_document_is_named_if_its_name_comes_first() -> None:
    (document,) = read(POD + "spec: [", "f")
    assert (document.ref, document.raw) == ("Pod/here/a", None)
    assert document.problems[0].ref == "Pod/here/a"


def test_values_are_json() -> None:
    text = 'a: on\nb: "on"\nc: 1.5s\nd: 8080\n8080: ~\ne: [1, {f: 2.5}]\n'
    (document,) = read(text, "f")
    assert document.raw == {
        "a": True,
        "b": "on",
        "c": "1.5s",
        "d": 8080,
        "8080": None,
        "e": [1, {"f": 2.5}],
    }


LIST = """
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: a}
- kind: ServiceList
  apiVersion: v1
  items:
  - metadata:
      name: b
- nothing
"""


def test_the_items_of_lists_come_out() -> None:
    documents = read(LIST, "f")
    assert refs(documents) == ["Pod/default/a", "Service/default/b"]
    assert problems(documents) == [(13, "items[2]", reasons.NOT_AN_OBJECT)]
    assert {document.index for document in documents} == {0}
    assert [document.line for document in documents[:2]] == [5, 11]
    assert documents[1].line_of("metadata.name") == 12


def test_lines_lead_to_the_field_or_the_nearest_around_it() -> None:
    (document,) = read(
        "# comment\n---\n\nkind: A\nmetadata:\n  labels:\n    a.b/c: x\n"
        "spec:\n  http:\n  - name: a\n  -\n    route: [{host: x}]\n",
        "f",
    )
    for path, line in [
        ("", 4),
        ("kind", 4),
        ("metadata.labels[a.b/c]", 7),
        ("metadata.annotations", 5),
        ("spec.http[0]", 10),
        ("spec.http[1].route[0].host", 12),
        ("spec.http[1].timeout", 12),
        ("spec.http[7]", 9),
        ("nowhere", 4),
    ]:
        assert (path, document.line_of(path)) == (path, line)


def aliases() -> str:
    names = "abcdefghi"
    lines = [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise(names)]
    return "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(lines)


HOSTILE = {
    "open lists": "[" * SIZE,
    "50,000 open lists": "[" * 50_000,
    "open mappings": "{a: " * (SIZE // 4),
    "open lists on lines of their own": "[\n" * (SIZE // 2),
    "lists in lists": "- " * (SIZE // 2),
    "100,000 lists in lists": "- " * 100_000,
    "mappings as keys": "? " * (SIZE // 2),
    "mappings in mappings": "".join(f"{' ' * depth}a:\n" for depth in range(1400)),
    "JSON in JSON": '{"a":' * (SIZE // 5),
    "aliases of aliases": aliases(),
    "anchors": "".join(f"a{n}: &x{n} 1\n" for n in range(60_000)),
    "one key": "a: 1\n" * (SIZE // 5),
    "many keys": "".join(f"k{n}: 1\n" for n in range(90_000)),
    "many values": "- 1\n" * (SIZE // 4),
    "many nothings": "-\n" * (SIZE // 2),
    "a flow of values": "[" + "1," * (SIZE // 2 - 2) + "]",
    "an open text": '"' * SIZE,
    "a long text": "a: " + "x" * (SIZE - 3),
    "a long number": "a: " + "9" * (SIZE - 3),
    "a long exponent": "a: 1e" + "9" * (SIZE - 5),
    "tabs": "\t" * SIZE,
    "empty lines": "\n" * SIZE,
    "comments": "#\n" * (SIZE // 2),
    "empty documents": "---\n" * (SIZE // 4),
    "broken documents": "---\n[\n" * (SIZE // 6),
    "small documents": "---\na: 1\n" * (SIZE // 9),
    "bytes": bytes(range(256)).decode("latin1") * (SIZE // 400),
    "zeros": "\0" * SIZE,
    "a long tag": "!" * SIZE,
    "a long anchor": "&" + "a" * (SIZE - 1),
    "colons": "a:" * (SIZE // 2),
    "Mac line breaks": "a: 1\r" * (SIZE // 5),
    "a long key": "? " + "x" * (SIZE - 8) + "\n: y",
    "lists of lists": "{kind: List, items: [" * 1000,
    "broken items": "kind: List\nitems:\n" + "- a\n" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_malice_ends(name: str) -> None:
    text = HOSTILE[name]
    start = time.process_time()
    documents = read(text, "f")
    lines = {document.line_of("spec.http[0].timeout") for document in documents[:100]}
    took = (time.process_time() - start) * 1000
    sys.stdout.write(f"{name}: {took:.0f} ms for {len(text)} characters\n")
    assert len(documents) <= MAX_DOCUMENTS + 1
    assert all(len(document.problems) <= MAX_FAULTS for document in documents)
    assert all(line >= 1 for line in lines)


def test_too_many_documents_are_cut_off() -> None:
    documents = read("---\na: 1\n" * (MAX_DOCUMENTS + 5), "f")
    assert problems(documents) == [(2 * MAX_DOCUMENTS + 1, "", reasons.TOO_LARGE)]


def test_a_folder_of_a_thousand_services_and_two_hundred_policies_is_cheap() -> None:
    service = "spec: {ports: [{name: http, port: 80}]}\n---\n"
    rule = "spec:\n  rules:\n  - to:\n    - operation: {methods: [GET]}\n---\n"
    text = "".join(f"kind: Service\nmetadata: {{name: s{n}}}\n{service}" for n in range(1000))
    text += "".join(f"kind: Policy\nmetadata: {{name: p{n}}}\n{rule}" for n in range(200))
    start = time.process_time()
    documents = read(text, "f")
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")
    assert len(refs(documents)) == 1200


WORDS = ["a", "kind", "List", "items", "&a", "*a", "!!str", "!x", "<<:", "1", "0x", "~", ".nan"]
SIGNS = [
    *":[]{},|>?#é",
    "\\x",
    "%YAML",
    ": ",
    "- ",
    '"',
    "'",
    " ",
    "\n",
    "\n  ",
    "\t",
    "\r",
    "---\n",
    "...\n",
    "\0",
    "\ufeff",
]
YAML_BITS = st.sampled_from([*WORDS, *SIGNS, "\u2028", "\x85", "\ud800"])


@given(st.one_of(st.text(max_size=200), st.lists(YAML_BITS, max_size=60).map("".join)))
def test_no_text_makes_it_raise(text: str) -> None:
    for document in read(text, "f"):
        assert (document.raw is None) == bool(document.problems)
        assert document.line_of("a.items[0]") >= 1
        json.dumps(document.raw)


@pytest.mark.parametrize("text", ["x: [1.2.3.4, 2001:db8::]", "x: [::1]"])
def test_addresses_that_need_quotes_say_so(text: str) -> None:
    (document,) = read(text, "f")
    assert "in quotes" in document.problems[0].text
    assert document.problems[0].line == 1


# In YAML these three break a line, and a break within quotes is a space.
UNBROKEN = st.characters(exclude_characters="\x85\u2028\u2029")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(UNBROKEN),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(UNBROKEN, max_size=8), inner),
        max_leaves=20,
    )
)
def test_json_comes_out_as_it_went_in(value: object) -> None:
    (document,) = read(json.dumps({"x": value}, ensure_ascii=False), "f") or [None]
    if document is not None and document.raw is not None:
        assert document.raw == {"x": value}


def test_the_path_of_what_is_nested_too_deep_can_be_read() -> None:
    text = "kind: A\nmetadata: {name: x}\nspec: " + "{a: " * 80 + "1" + "}" * 80
    (document,) = read(text, "in.yaml")
    (problem,) = document.problems
    assert problem.reason == "TooDeep"
    assert problem.path == "spec" + ".a" * (MAX_PATH - 1)
