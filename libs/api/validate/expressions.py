"""Rules about expressions of CEL: whether Envoy can read them and has what they call.

A parser of CEL's grammar that keeps nothing but where it is. It recurses as deep as an expression
is nested, and that has a limit; so has the length. What an expression means is not judged: one
about a thing that is not there has no value, and that is no harm. But one that calls what Envoy has
not got makes it refuse the whole listener.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from libs.api.validate.regex import wrong_regex

MAX_LENGTH = 16 * 1024
MAX_DEPTH = 32

_STRING = r"[rR]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
_RAW = r"[rR](?:\"[^\"\n]*\"|'[^'\n]*')"
_TOKEN = re.compile(
    rf"(?P<space>\s+|//[^\n]*)|(?P<literal>[bB]?(?:{_RAW}|{_STRING})|0x[0-9a-fA-F]+[uU]?"
    r"|[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|[0-9]+[uU]?)"
    r"|(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)|(?P<quoted>`[a-zA-Z0-9_./ -]+`)"
    r"|(?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])"
)
_BINARY = frozenset({"||", "&&", "==", "!=", "<=", ">=", "<", ">", "in", "+", "-", "*", "/", "%"})
_CONSTANTS = frozenset({"true", "false", "null"})
_RESERVED = frozenset(
    {
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    }
)
_END = "the end"
_TIME = ("FullYear", "Month", "DayOfMonth", "Date", "DayOfYear", "DayOfWeek")
_CLOCK = ("Hours", "Minutes", "Seconds", "Milliseconds")
_BOTH = {"size": 1, "contains": 2, "startsWith": 2, "endsWith": 2, "matches": 2}
_FUNCTIONS = {
    **{name: frozenset({count}) for name, count in _BOTH.items()},
    **dict.fromkeys(("bool", "bytes", "double", "duration", "dyn"), frozenset({1})),
    **dict.fromkeys(("int", "timestamp", "type", "uint"), frozenset({1})),
}
_METHODS = {
    **{name: frozenset({count - 1}) for name, count in _BOTH.items()},
    **{f"get{part}": frozenset({0, 1}) for part in (*_TIME, *_CLOCK)},
    "extract": frozenset({3}),
    "capture": frozenset({2}),
    "captureN": frozenset({2}),  # of `re`
}
"""What Envoy can call, with the numbers of arguments. Its builder has no text functions, no
conversion to text, and no macros that go through lists."""
_INSTEAD = {
    "string": "Envoy has no string(): compare numbers with numbers; a tag becomes a text anyway",
    "has": "has() takes a field, as in has(request.headers.name); for other keys: 'key' in map",
}

Token = tuple[str, str]


class _SyntaxFaultError(Exception):
    """The expression cannot be read; caught in this module."""


def wrong_expression(text: str) -> str:
    """Return what is wrong with an expression, or an empty text."""
    if len(text) > MAX_LENGTH:
        return f"an expression must not be longer than {MAX_LENGTH} characters"
    try:
        _Parser(text).parse()
    except _SyntaxFaultError as fault:
        return f"not an expression of CEL: {fault}"
    return ""


def without_text(text: str) -> str:
    """Return an expression without a `string(…)` around the whole of it.

    For whoever makes a text of its value anyway: Envoy cannot call `string`.
    """
    try:
        tokens = list(_tokens(text))
    except _SyntaxFaultError:
        return text
    if [value for _, value in tokens[:2]] != ["string", "("]:
        return text
    depth = 0
    for at, (kind, value) in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(value, 0) if kind == "sign" else 0
        if kind == "sign" and value == ")" and depth == 0:
            whole = tokens[at + 1][0] == "end"
            return text[text.index("(") + 1 : text.rindex(")")].strip() if whole else text
    return text


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _SyntaxFaultError(
                f"{text[position : position + 20]!r} at {position} is no word of it"
            )
        position = found.end()
        if found.lastgroup != "space":
            yield found.lastgroup or "", found.group()
    yield "end", _END


class _Parser:
    """Reads tokens from left to right. Precedence is of no interest to whether it can be read."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def parse(self) -> None:
        self._expression()
        self._expect(_END)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _found(self, text: str) -> bool:
        """Take the next token if it is this sign."""
        kind, value = self._next
        if value != text or kind in {"literal", "quoted"}:
            return False
        self._take()
        return True

    def _expect(self, text: str) -> None:
        if not self._found(text):
            raise _SyntaxFaultError(f"there should be {text}, not {self._next[1][:20]}")

    def _expression(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _SyntaxFaultError(f"it is nested more than {MAX_DEPTH} deep")
        self._operands()
        if self._found("?"):
            self._operands()
            self._expect(":")
            self._expression()
        self._depth -= 1

    def _operands(self) -> None:
        self._operand()
        while self._next[1] in _BINARY and self._next[0] in {"sign", "name"}:
            self._take()
            self._operand()

    def _operand(self) -> None:
        sign = self._next[1]
        if self._next[0] == "sign" and sign in {"!", "-"}:
            while self._found(sign):
                pass
        self._primary()
        while self._step():
            pass

    def _step(self) -> bool:
        """Read a field, a call of a method, or an index; return whether there was one."""
        if self._found("."):
            kind, name = self._take()
            if kind not in {"name", "quoted"} or name in _CONSTANTS | {"in"}:
                raise _SyntaxFaultError(f"there should be a name after '.', not {name[:20]}")
            if self._found("("):
                self._call(name, _METHODS)
            elif kind == "name" and self._found("{"):
                self._list("}", self._entry, trailing=True)
            return True
        if self._found("["):
            self._expression()
            self._expect("]")
            return True
        return False

    def _primary(self) -> None:
        if self._found("("):
            self._expression()
            self._expect(")")
        elif self._found("["):
            self._list("]", self._expression, trailing=True)
        elif self._found("{"):
            self._list("}", self._entry, trailing=True)
        else:
            self._word()

    def _word(self) -> None:
        dotted = self._found(".")
        kind, name = self._take()
        if not dotted and (kind == "literal" or (kind == "name" and name in _CONSTANTS)):
            return
        if kind != "name" or name in _RESERVED | _CONSTANTS:
            raise _SyntaxFaultError(f"there should be a value, not {name[:20]}")
        if self._found("("):
            self._call(name, _FUNCTIONS)
        elif self._found("{"):
            self._list("}", self._entry, trailing=True)

    def _call(self, name: str, known: Mapping[str, frozenset[int]]) -> None:
        """Read the arguments of a call of something that Envoy has."""
        start = self._at
        count = self._list(")", self._expression)
        arguments = self._tokens[start : self._at - 1]
        if name == "has" and known is _FUNCTIONS:
            if not _is_field(arguments):
                raise _SyntaxFaultError(_INSTEAD[name])
        elif name not in known:
            raise _SyntaxFaultError(_INSTEAD.get(name, f"Envoy has no {name[:60]}()"))
        elif count not in known[name]:
            raise _SyntaxFaultError(f"{name}() does not take {count} arguments")
        elif name == "matches" and (wrong := _wrong_pattern(arguments)):
            raise _SyntaxFaultError(wrong)

    def _entry(self) -> None:
        self._expression()
        self._expect(":")
        self._expression()

    def _list(self, end: str, item: Callable[[], None], *, trailing: bool = False) -> int:
        """Read items up to `end` and return how many; a comma may stand before it if `trailing`."""
        if self._found(end):
            return 0
        item()
        count = 1
        while self._found(","):
            if trailing and self._found(end):
                return count
            item()
            count += 1
        self._expect(end)
        return count


def _is_field(tokens: list[Token]) -> bool:
    """Tell whether an expression ends with `.name`, which alone can be there or not."""
    return len(tokens) > 2 and tokens[-2] == ("sign", ".") and tokens[-1][0] in {"name", "quoted"}


def _wrong_pattern(arguments: list[Token]) -> str:
    """Return what is wrong with the last argument if it is a plain text, or an empty text."""
    kind, value = arguments[-1]
    alone = len(arguments) == 1 or arguments[-2] == ("sign", ",")
    if kind != "literal" or not alone or value[0] not in "'\"" or "\\" in value:
        return ""
    return wrong_regex(value.strip(value[0]))
