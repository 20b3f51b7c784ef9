"""Rules about the `%COMMAND%` texts that Envoy fills in, in the values of headers.

What stands between the signs is not judged, only that Envoy can tell where it ends; the states are
those of Envoy's own parser.
"""

from enum import Enum, auto


class _State(Enum):
    LITERAL = auto()
    NAME = auto()  # %NAME
    ARGUMENTS = auto()  # %NAME(
    ELEMENT = auto()  # %NAME([ where a string must begin
    STRING = auto()
    AFTER_ELEMENT = auto()  # %NAME(["a" where , or ] must follow
    AFTER_ELEMENTS = auto()  # %NAME(["a"] where ) must follow
    END = auto()  # %NAME(…) where % must follow


_OPENING = {
    (_State.NAME, "%"): _State.LITERAL,
    (_State.NAME, "("): _State.ARGUMENTS,
    (_State.ARGUMENTS, "["): _State.ELEMENT,
    (_State.ELEMENT, '"'): _State.STRING,
    (_State.STRING, ")"): _State.END,
    (_State.STRING, '"'): _State.AFTER_ELEMENT,
    (_State.AFTER_ELEMENT, ","): _State.ELEMENT,
    (_State.AFTER_ELEMENT, "]"): _State.AFTER_ELEMENTS,
    (_State.AFTER_ELEMENTS, ")"): _State.END,
    (_State.END, "%"): _State.LITERAL,
}
_ANY = {_State.NAME: _State.NAME, _State.STRING: _State.STRING, _State.ARGUMENTS: _State.STRING}


def wrong_format(text: str) -> str:
    """Return what is wrong with a header's value, or an empty text."""
    if "%" not in text:
        return ""
    state, position = _State.LITERAL, 0
    while position < len(text):
        character, following = text[position], text[position + 1 : position + 2]
        if _escapes(state, character, following):
            position += 1
        elif state is _State.LITERAL:
            state = _State.NAME if character == "%" else state
        else:
            found = _OPENING.get((state, character), state if character == " " else _ANY.get(state))
            if found is None:
                return f"unexpected {character!r} at {position}; write %% for a percent sign"
            state = found
        position += 1
    return "" if state is _State.LITERAL else "a % is not closed; write %% for a percent sign"


def _escapes(state: _State, character: str, following: str) -> bool:
    """Tell whether the next character is taken as it is."""
    if state is _State.LITERAL:
        return character == following == "%"
    return state is _State.STRING and character == "\\" and following != ""
