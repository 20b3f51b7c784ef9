"""Rules about expressions of CEL: whether they can be read, not what they mean.

A parser of CEL's grammar that keeps nothing. It recurses as deep as an expression is nested, and
that has a limit; so has the length.
"""

import re
from collections.abc import Callable, Iterator

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
                self._list(")", self._expression)
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
            self._list(")", self._expression)
        elif self._found("{"):
            self._list("}", self._entry, trailing=True)

    def _entry(self) -> None:
        self._expression()
        self._expect(":")
        self._expression()

    def _list(self, end: str, item: Callable[[], None], *, trailing: bool = False) -> None:
        """Read items up to `end`; a comma may stand before it if `trailing`."""
        if self._found(end):
            return
        item()
        while self._found(","):
            if trailing and self._found(end):
                return
            item()
        self._expect(end)
