"""Renders the part of Go's text/template that our Modelfiles are written in.

Source: https://pkg.go.dev/text/template. Known are text with `{{-` and `-}}`, `range` over a list with no, one or two
variables, `if`, `else`, `else if`, `end`, fields of the dot, variables, `$`, strings, integers, brackets, and the functions
`and`, `or`, `not`, `eq`, `ne`. Everything else is refused rather than guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillhouse.errors import ExportError

STRING = r'"(?:[^"\\\n]|\\.)*"|`[^`]*`'
ACTION = re.compile(r"\{\{(-(?=[ \t\r\n]))?((?:" + STRING + r"|.)*?)((?<=[ \t\r\n])-)?\}\}", re.DOTALL)
TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<string>" + STRING + r")|(?P<number>0|[1-9][0-9]*)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<field>(?:\.[A-Za-z_][A-Za-z0-9_]*)+)|(?P<variable>\$[A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign>:=|[().,])"
)
ESCAPE = re.compile(r"\\(?:([nrt\\\"])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\")
ESCAPED = {"\n": "n", "\r": "r", "\t": "t", "\\": "\\", '"': '"'}
SPACE = " \t\r\n"
FUNCTIONS = ("and", "or", "not", "eq", "ne")

Token = tuple[str, str]


@dataclass
class _Node:
    """A text, an action, or a branch with what it holds."""

    kind: str
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    body: list["_Node"] = field(default_factory=list)
    other: list["_Node"] = field(default_factory=list)


@dataclass(frozen=True)
class _Scope:
    """The dot and the variables of a place in the template."""

    dot: Any
    variables: Mapping[str, Any]


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """What Go prints for `template` over `data` (mappings, lists, strings, integers, booleans).

    Raises `ExportError` for a template that is malformed, asks for a name that `data` lacks, or uses a part of the
    language that is not known here.
    """
    nodes, end = _parse(_pieces(template), frozenset({"$"}), inside=False)
    if end is not None:
        raise ExportError(f"the Modelfile's template has an unexpected {{{{ {end} }}}}")
    return "".join(_run(nodes, _Scope(data, {"$": data})))


def _pieces(template: str) -> list[_Node]:
    """Texts and actions in order, with the white space gone that trim markers eat."""
    pieces, place, trim = [], 0, False
    for match in ACTION.finditer(template):
        before = template[place : match.start()]
        before = before.lstrip(SPACE) if trim else before
        pieces.append(_Node("text", before.rstrip(SPACE) if match[1] else before))
        pieces.append(_Node("action", match[2].strip(), _tokens(match[2])))
        place, trim = match.end(), bool(match[3])
    rest = template[place:]
    if "{{" in rest:
        raise ExportError("the Modelfile's template has an action without its end")
    pieces.append(_Node("text", rest.lstrip(SPACE) if trim else rest))
    return pieces


def go_string(text: str) -> str:
    """`text` as a string literal of Go, in printable characters only: Ollama drops the others from a Modelfile."""
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in ESCAPED:
        return "\\" + ESCAPED[sign]
    if sign.isprintable():
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def _unquoted(literal: str) -> str:
    if literal[0] == "`":
        return literal[1:-1]
    back = {letter: sign for sign, letter in ESCAPED.items()}

    def one(match: re.Match[str]) -> str:
        if match[0] == "\\":
            raise ExportError(f"the Modelfile's template has {literal}, with an escape that is not understood here")
        return back[match[1]] if match[1] else chr(int(match[2] or match[3], 16))

    return ESCAPE.sub(one, literal[1:-1])


def _tokens(action: str) -> list[Token]:
    """The words of an action; words that touch each other are refused where Go wants space between them."""
    tokens, place, apart = [], 0, True
    while place < len(action):
        match = TOKEN.match(action, place)
        if not match or not match.lastgroup:
            raise ExportError(f"the Modelfile's template has {action.strip()!r}, which is not understood here")
        place, kind, text = match.end(), match.lastgroup, match[0]
        if kind == "space":
            apart = True
            continue
        if not apart and text not in (")", ",", ":="):
            raise ExportError(f"the Modelfile's template has {action.strip()!r}, which is not understood here")
        tokens.append((kind, text))
        apart = text in ("(", ",", ":=")
    return tokens


def _parse(pieces: list[_Node], known: frozenset[str], inside: bool) -> tuple[list[_Node], str | None]:
    """Nodes up to the `end` or `else` that closes them, which is given back; `pieces` is used up from its front."""
    nodes: list[_Node] = []
    while pieces:
        piece = pieces.pop(0)
        word = piece.tokens[0][1] if piece.tokens else ""
        if piece.kind == "text":
            nodes.append(piece)
        elif word in ("end", "else"):
            return nodes, piece.text
        elif word in ("if", "range"):
            nodes.append(_branch(word, piece.tokens[1:], pieces, known))
        else:
            _check_names(piece.tokens, known)
            nodes.append(piece)
    if inside:
        raise ExportError("the Modelfile's template has a branch without its {{ end }}")
    return nodes, None


def _branch(kind: str, tokens: list[Token], pieces: list[_Node], known: frozenset[str]) -> _Node:
    """An `if` or `range` with its body, and with what follows `else`."""
    node = _Node(kind, tokens=tokens)
    if kind == "range" and ("sign", ":=") in tokens:
        cut = tokens.index(("sign", ":="))
        node.names, node.tokens = [text for one, text in tokens[:cut] if one == "variable"], tokens[cut + 1 :]
        wanted = [token for name in node.names for token in (("sign", ","), ("variable", name))][1:]
        if tokens[:cut] != wanted or len(node.names) not in (1, 2):
            raise ExportError("the Modelfile's template has a range that is not understood here")
    _check_names(node.tokens, known)
    node.body, end = _parse(pieces, known | set(node.names), inside=True)
    if end == "else":
        node.other, end = _parse(pieces, known, inside=True)
    elif end and end.startswith("else if ") and kind == "if":
        node.other, end = [_branch("if", _tokens(end.removeprefix("else if")), pieces, known)], "end"
    if end != "end":
        raise ExportError(f"the Modelfile's template has {{{{ {end} }}}} where {{{{ end }}}} belongs")
    return node


def _check_names(tokens: list[Token], known: frozenset[str]) -> None:
    """Go looks names up before it runs a template, in branches that are never taken too."""
    for kind, text in tokens:
        if kind == "variable" and text.partition(".")[0] not in known:
            raise ExportError(f"the Modelfile's template has no variable {text}")
        if kind == "name" and text not in (*FUNCTIONS, "true", "false"):
            raise ExportError(f"the Modelfile's template has {text!r}, which is not understood here")


def _run(nodes: list[_Node], scope: _Scope) -> list[str]:
    out: list[str] = []
    for node in nodes:
        if node.kind == "text":
            out.append(node.text)
        elif node.kind == "if":
            out += _run(node.body if _value(node.tokens, scope) else node.other, scope)
        elif node.kind == "range":
            out += _range(node, scope)
        else:
            out.append(_printed(_value(node.tokens, scope)))
    return out


def _range(node: _Node, scope: _Scope) -> list[str]:
    items = _value(node.tokens, scope)
    if not isinstance(items, list):
        raise ExportError("the Modelfile's template ranges over something that is no list")
    out: list[str] = []
    for number, item in enumerate(items):
        # one variable takes the element, two take index and element
        values = (number, item) if len(node.names) == 2 else (item,)
        inner = _Scope(item, {**scope.variables, **dict(zip(node.names, values, strict=False))})
        out += _run(node.body, inner)
    return out if items else _run(node.other, scope)


def _value(tokens: list[Token], scope: _Scope) -> Any:
    """The value of a whole action: one call, or one operand."""
    value, rest = _call(tokens, scope)
    if rest:
        raise ExportError(f"the Modelfile's template has {rest[0][1]!r} where nothing was expected")
    return value


def _call(tokens: list[Token], scope: _Scope) -> tuple[Any, list[Token]]:
    if not tokens:
        raise ExportError("the Modelfile's template has an empty action")
    kind, name = tokens[0]
    if kind != "name" or name in ("true", "false"):
        return _operand(tokens, scope)
    arguments, rest = [], tokens[1:]
    while rest and rest[0] != ("sign", ")"):
        value, rest = _operand(rest, scope)
        arguments.append(value)
    return _apply(name, arguments), rest


def _operand(tokens: list[Token], scope: _Scope) -> tuple[Any, list[Token]]:
    (kind, text), rest = tokens[0], tokens[1:]
    if kind == "string":
        return _unquoted(text), rest
    if kind == "number":
        return int(text), rest
    if kind == "field":
        return _fields(scope.dot, text), rest
    if kind == "variable":
        name, dot, path = text.partition(".")
        return _fields(scope.variables[name], dot + path), rest
    if text in ("true", "false"):
        return text == "true", rest
    if text == ".":
        return scope.dot, rest
    if text == "(":
        value, rest = _call(rest, scope)
        if rest[:1] != [("sign", ")")]:
            raise ExportError("the Modelfile's template has a bracket without its end")
        return value, rest[1:]
    raise ExportError(f"the Modelfile's template has {text!r}, which is not understood here")


def _fields(value: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        if not isinstance(value, Mapping) or name not in value:
            raise ExportError(f"the Modelfile's template asks for .{name}, which is not there")
        value = value[name]
    return value


def _apply(name: str, arguments: list[Any]) -> Any:
    """Go's functions; `and` and `or` give back the argument that decided."""
    needed = {"not": 1, "eq": 2, "ne": 2}.get(name, 1)
    if name not in FUNCTIONS or len(arguments) < needed or (name in ("not", "ne") and len(arguments) > needed):
        raise ExportError(f"the Modelfile's template calls {name} with {len(arguments)} values: not understood here")
    if name == "and":
        return next((one for one in arguments if not one), arguments[-1])
    if name == "or":
        return next((one for one in arguments if one), arguments[-1])
    if name == "not":
        return not arguments[0]
    if len({type(one) for one in arguments}) > 1 or not isinstance(arguments[0], str | int):
        raise ExportError(f"the Modelfile's template compares values of different kinds by {name}")
    return arguments[0] in arguments[1:] if name == "eq" else arguments[0] != arguments[1]


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise ExportError("the Modelfile's template prints something that is neither text nor a number")
    return str(value)
