"""Evaluate the syntax tree of a script."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from tree_sitter import Language, Node, Parser
from tree_sitter_powershell import language as grammar

from tests.kits.windows.powershell import operators
from tests.kits.windows.powershell.values import (
    ComObject,
    Error,
    Record,
    Table,
    Thrown,
    Unknown,
    Value,
    as_list,
    collapsed,
    members,
    same,
    text,
    truth,
)

_LANGUAGE = Language(grammar())
#: ``command(interpreter, arguments, named, input)`` returns its outputs.
Command = Callable[["Interpreter", list[Value], dict[str, Value], list[Value]], list[Value]]
#: ``call(member, arguments)``: the members of a static class.
Static = Callable[[str, list[Value]], Value]
#: What is more than its one child.
_WHOLE = ("command", "string_literal", "variable", "type_literal")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Return(Exception):
    """``return``; what was put out stays."""


class Break(Exception):
    """``break``."""


class Continue(Exception):
    """``continue``."""


class Function:
    """A function of the script's."""

    def __init__(self, parameters: Sequence[tuple[str, str]], body: Node | None) -> None:
        self.parameters = parameters
        self.body = body


class Block:
    """A script block."""

    def __init__(self, body: Node | None) -> None:
        self.body = body


class Nothing:
    """The result of a method that has none."""


NOTHING = Nothing()


@functools.cache
def parsed(source: bytes) -> Node:
    """Return the syntax tree."""
    return Parser(_LANGUAGE).parse(source).root_node


class Interpreter:
    """One run of a script: its scopes, its functions, and the commands and classes of its guest."""

    def __init__(
        self,
        commands: Mapping[str, Command],
        statics: Mapping[str, Static],
        casts: Mapping[str, Callable[[Value], Value]],
    ) -> None:
        self._commands = commands
        self._statics = statics
        self._casts = casts
        self.functions: dict[str, Function] = {}
        self.scopes: list[dict[str, Value]] = [{"true": True, "false": False, "null": None}]

    def run(self, source: bytes, arguments: Sequence[str]) -> None:
        """Run a whole script."""
        self.scopes[0]["args"] = list(arguments)
        outputs: list[Value] = []
        with contextlib.suppress(Return):
            self._statements(parsed(source), outputs)
        if outputs:
            raise Unknown(f"the script itself puts out {outputs!r}")

    # Scopes

    def lookup(self, name: str) -> Value:
        """Return a variable; the callers' are seen too."""
        scope, colon, rest = name.lower().rpartition(":")
        if colon and scope == "env":
            return self._statics["environment"]("$env", [rest])
        if colon:
            return self.scopes[0].get(rest)
        return next((each[rest] for each in reversed(self.scopes) if rest in each), None)

    def assign(self, name: str, value: Value) -> None:
        """Set a variable of this scope, or of the script."""
        scope, _, rest = name.lower().rpartition(":")
        (self.scopes[0] if scope == "script" else self.scopes[-1])[rest] = value

    # Calls

    def call(
        self, name: str, arguments: list[Value], named: dict[str, Value], given: list[Value]
    ) -> list[Value]:
        """Call a function of the script's, or a command of its guest's."""
        function = self.functions.get(name.lower())
        if function is not None:
            return self._call_function(function, arguments, named)
        command = self._commands.get(name.lower())
        if command is None:
            raise Unknown(f"there is no command {name}")
        return command(self, arguments, named, given)

    def call_block(self, block: Block, it: Value = None) -> list[Value]:
        """Run a script block, with ``$_``."""
        return self._in_scope(block.body, {"_": it} if it is not None else {})

    def _call_function(
        self, function: Function, arguments: list[Value], named: dict[str, Value]
    ) -> list[Value]:
        if named or len(arguments) > len(function.parameters):
            raise Unknown(f"a function is given {arguments} and {named}")
        scope = {}
        for at, (name, kind) in enumerate(function.parameters):
            value = arguments[at] if at < len(arguments) else None
            scope[name] = self.cast(kind, value) if kind else value
        return self._in_scope(function.body, scope)

    def _in_scope(self, body: Node | None, scope: dict[str, Value]) -> list[Value]:
        outputs: list[Value] = []
        self.scopes.append(scope)
        try:
            if body is not None:
                self._statements(body, outputs)
        except Return:
            pass
        finally:
            self.scopes.pop()
        return outputs

    def cast(self, kind: str, value: Value) -> Value:
        """Make a value another type's."""
        if kind == "byte[]":
            return bytes(value or b"")
        if kind.endswith("[]"):
            element = self._casts[kind[:-2]]
            return [element(each) for each in as_list(value)] if value is not None else None
        if kind not in self._casts:
            raise Unknown(f"there is no type {kind}")
        return self._casts[kind](value)

    # Statements

    def _statements(self, node: Node, outputs: list[Value]) -> None:
        for child in node.named_children:
            if child.type in ("statement_list", "script_block", "script_block_body", "statement_block"):
                self._statements(child, outputs)
            elif child.type not in ("comment", "empty_statement"):
                self._statement(child, outputs)

    def _statement(self, node: Node, outputs: list[Value]) -> None:
        handler = getattr(self, "_do_" + node.type, None)
        if handler is None:
            raise Unknown(f"line {node.start_point[0] + 1}: a statement {node.type}")
        handler(node, outputs)

    def _do_pipeline(self, node: Node, outputs: list[Value]) -> None:
        child = _only(node)
        if child.type == "assignment_expression":
            self._assignment(child)
        elif child.type == "post_increment_expression":
            self._increment(child.named_children[0])
        else:
            outputs.extend(self._piped(child))

    def _do_function_statement(self, node: Node, outputs: list[Value]) -> None:
        name = _text(_child(node, "function_name"))
        found = [each for each in node.named_children if each.type == "function_parameter_declaration"]
        parameters = [_parameter(each) for each in _all(found[0], "script_parameter")] if found else []
        blocks = [each for each in node.named_children if each.type == "script_block"]
        self.functions[name.lower()] = Function(parameters, blocks[0] if blocks else None)

    def _do_if_statement(self, node: Node, outputs: list[Value]) -> None:
        clauses = _child_or_none(node, "elseif_clauses")
        for clause in (node, *(clauses.named_children if clauses is not None else ())):
            if truth(self._value(_child(clause, "pipeline"))):
                self._statements(_child(clause, "statement_block"), outputs)
                return
        otherwise = _child_or_none(node, "else_clause")
        if otherwise is not None:
            self._statements(_child(otherwise, "statement_block"), outputs)

    def _do_foreach_statement(self, node: Node, outputs: list[Value]) -> None:
        for item in list(members(self._value(_child(node, "pipeline")))):
            self.assign(_text(_child(node, "variable"))[1:], item)
            if not self._loops(node, outputs):
                break

    def _do_while_statement(self, node: Node, outputs: list[Value]) -> None:
        while truth(self._value(_child(node, "while_condition"))) and self._loops(node, outputs):
            pass

    def _do_for_statement(self, node: Node, outputs: list[Value]) -> None:
        self._statement(_child(node, "for_initializer").named_children[0], [])
        while truth(self._value(_child(node, "for_condition"))) and self._loops(node, outputs):
            self._statement(_child(node, "for_iterator").named_children[0], [])

    def _loops(self, node: Node, outputs: list[Value]) -> bool:
        try:
            self._statements(_child(node, "statement_block"), outputs)
        except Continue:
            return True
        except Break:
            return False
        return True

    def _do_switch_statement(self, node: Node, outputs: list[Value]) -> None:
        value = self._value(_child(node, "switch_condition"))
        case = _child_or_none(node, "switch_parameters") is not None
        for clause in _all(node, "switch_clause"):
            condition = _child(clause, "switch_clause_condition")
            is_default = _text(condition) == "default"
            if is_default or same(self._value(condition), value, case=case):
                self._statements(_child(clause, "statement_block"), outputs)
                # Each of ours has one that fits: a real switch would look at the others.
                return

    def _do_flow_control_statement(self, node: Node, outputs: list[Value]) -> None:
        word = _text(node.children[0])
        if word in ("break", "continue"):
            raise Break if word == "break" else Continue
        rest = node.named_children
        if word == "return":
            if rest:
                self._statement(rest[0], outputs)
            raise Return
        if not rest:
            raise self.lookup("_").get("thrown")
        thrown = self._value(rest[0])
        raise Thrown(thrown, line=node.start_point[0] + 1)

    def _do_try_statement(self, node: Node, outputs: list[Value]) -> None:
        try:
            try:
                self._statements(_child(node, "statement_block"), outputs)
            except Thrown as thrown:
                self._catch(node, thrown, outputs)
        finally:
            last = _child_or_none(node, "finally_clause")
            if last is not None:
                self._statements(_child(last, "statement_block"), outputs)

    def _catch(self, node: Node, thrown: Thrown, outputs: list[Value]) -> None:
        clauses = _child_or_none(node, "catch_clauses")
        for clause in clauses.named_children if clauses is not None else ():
            kinds = _child_or_none(clause, "catch_type_list")
            if kinds is None or thrown.error.kind in _text(kinds).lower():
                self.assign("_", error_record(thrown))
                self._statements(_child(clause, "statement_block"), outputs)
                return
        raise thrown

    # Assignments

    def _assignment(self, node: Node) -> None:
        left, operator, right = node.named_children
        value = self._value(right)
        target = _inner(left)
        if _text(operator) == "+=":
            value = operators.add(self._value(target), value)
        elif _text(operator) != "=":
            raise Unknown(_text(operator))
        self._set(target, value)

    def _increment(self, target: Node) -> None:
        target = _inner(target)
        self._set(target, (self._value(target) or 0) + 1)

    def _set(self, target: Node, value: Value) -> None:
        if target.type == "variable":
            self.assign(_text(target)[1:], value)
            return
        holder = self._value(target.named_children[0])
        if target.type == "element_access":
            holder[self._value(target.named_children[1])] = value
        elif isinstance(holder, Table):
            holder[_text(_child(target, "member_name"))] = value
        elif isinstance(holder, (ComObject, Settable)):
            holder.set(_text(_child(target, "member_name")), value)
        else:
            raise Unknown(f"line {target.start_point[0] + 1}: a member of {holder!r} is set")

    # Values

    def _value(self, node: Node) -> Value:
        """Return what a variable would get of it."""
        node = _inner(node)
        if node.type in ("if_statement", "foreach_statement", "switch_statement"):
            outputs: list[Value] = []
            self._statement(node, outputs)
            return collapsed(outputs)
        if node.type in ("command", "pipeline_chain"):
            return collapsed(self._piped(node))
        handler = getattr(self, "_get_" + node.type, None)
        if handler is None:
            raise Unknown(f"line {node.start_point[0] + 1}: an expression {node.type}")
        value = handler(node)
        return None if value is NOTHING else value

    def _piped(self, node: Node) -> list[Value]:
        """Return what it puts into a pipeline."""
        node = _inner(node)
        if node.type == "command":
            return self._command(node, [])
        if node.type == "pipeline_chain":
            first, *rest = node.named_children
            given = self._piped(first)
            for command in rest:
                given = self._command(_inner(command), given)
            return given
        handler = getattr(self, "_get_" + node.type, None)
        if handler is not None:
            value = handler(node)
            return [] if value is NOTHING else as_list(value)
        return as_list(self._value(node))

    def _command(self, node: Node, given: list[Value]) -> list[Value]:
        if node.named_children[0].type == "command_invokation_operator":
            return self.call_block(
                self._value(_child(node, "command_name_expr").named_children[0].named_children[0])
            )
        name = _text(_child(node, "command_name"))
        arguments: list[Value] = []
        named: dict[str, Value] = {}
        elements = _child_or_none(node, "command_elements")
        for word, value in self._arguments(elements):
            if word:
                named[word] = value
            else:
                arguments.append(value)
        try:
            return self.call(name, arguments, named, given)
        except Unknown as exc:
            raise Unknown(f"{exc} (line {node.start_point[0] + 1})") from None

    def _arguments(self, elements: Node | None) -> Iterator[tuple[str, Value]]:
        """Yield arguments by position, and parameters with what belongs to them."""
        pending = ""
        for element in elements.named_children if elements is not None else ():
            if element.type == "command_argument_sep":
                continue
            if element.type == "command_parameter":
                if pending:
                    yield pending, True
                pending = _text(element).lstrip("-").lower()
                continue
            value = _text(element) if element.type == "generic_token" else self._argument(element)
            yield pending, value
            pending = ""
        if pending:
            yield pending, True

    def _argument(self, element: Node) -> Value:
        if element.type == "argument_list":
            return Given([self._value(each) for each in _list_of(element)])
        return self._value(element)

    # Expressions

    def _get_variable(self, node: Node) -> Value:
        return self.lookup(_text(node).strip("${}"))

    def _get_decimal_integer_literal(self, node: Node) -> int:
        return int(_text(node), 0)

    _get_hexadecimal_integer_literal = _get_decimal_integer_literal

    def _get_string_literal(self, node: Node) -> str:
        (child,) = node.named_children
        if child.type == "verbatim_string_characters":
            return _text(child)[1:-1].replace("''", "'")
        if child.type.startswith("expandable"):
            return self._expanded(child)
        raise Unknown(child.type)

    def _expanded(self, node: Node) -> str:
        """Return a text with its variables: what lies between the children is literal."""
        raw = node.text or b""
        here = node.type == "expandable_here_string_literal"
        # A here-string begins and ends with a line of its own.
        start, end = node.start_byte + (4 if here else 1), node.end_byte - (4 if here else 1)
        parts, at = [], start
        for child in node.named_children:
            parts.append(_unescaped(raw[at - node.start_byte : child.start_byte - node.start_byte].decode()))
            parts.append(text(self._value(child)))
            at = child.end_byte
        parts.append(_unescaped(raw[at - node.start_byte : end - node.start_byte].decode()))
        return "".join(parts)

    def _get_sub_expression(self, node: Node) -> Value:
        outputs: list[Value] = []
        self._statements(node, outputs)
        return collapsed(outputs)

    def _get_parenthesized_expression(self, node: Node) -> Value:
        return self._value(node.named_children[0])

    def _get_pipeline(self, node: Node) -> Value:
        outputs: list[Value] = []
        child = _only(node)
        if child.type in ("assignment_expression", "post_increment_expression"):
            self._do_pipeline(node, outputs)
            return collapsed(outputs)
        return self._value(child)

    _get_while_condition = _get_for_condition = _get_switch_condition = _get_parenthesized_expression

    def _get_switch_clause_condition(self, node: Node) -> Value:
        return self._value(node.named_children[0])

    def _get_array_expression(self, node: Node) -> list[Value]:
        outputs: list[Value] = []
        self._statements(node, outputs)
        return outputs

    def _get_array_literal_expression(self, node: Node) -> list[Value]:
        return [self._value(each) for each in node.named_children]

    def _get_script_block_expression(self, node: Node) -> Block:
        found = [each for each in node.named_children if each.type == "script_block"]
        return Block(found[0] if found else None)

    def _get_hash_literal_expression(self, node: Node) -> Table:
        table = Table()
        for entry in _all(node, "hash_entry"):
            key, value = (each for each in entry.named_children if each.type != "comment")
            table[_text(key).strip("'\"")] = self._value(value)
        return table

    def _get_expression_with_unary_operator(self, node: Node) -> Value:
        word, value = _text(node.children[0]).lower(), self._value(node.children[-1])
        if word in ("-not", "!"):
            return not truth(value)
        if word == ",":
            return [value]
        if word == "-":
            return -value
        raise Unknown(f"the operator {word}")

    def _get_cast_expression(self, node: Node) -> Value:
        literal, operand = node.named_children
        kind = _type_name(literal)
        if kind == "void":
            self._piped(operand)
            return NOTHING
        value = self._value(operand)
        return value if kind == "object[]" else self.cast(kind, value)

    def _binary(self, node: Node) -> Value:
        left, *rest = node.children
        value: Value = self._value(left)
        for operator, right in zip(rest[::2], rest[1::2], strict=True):
            word = _text(operator).lower()
            if word == "-and":
                value = truth(value) and truth(self._value(right))
            elif word == "-or":
                value = truth(value) or truth(self._value(right))
            elif word in ("-is", "-isnot"):
                value = operators.is_of(value, _type_name(right)) == (word == "-is")
            else:
                value = operators.binary(word, value, self._value(right), self.assign)
        return value

    _get_logical_expression = _get_bitwise_expression = _get_comparison_expression = _binary
    _get_additive_expression = _get_multiplicative_expression = _get_format_expression = _binary
    _get_additive_argument_expression = _get_multiplicative_argument_expression = _binary
    _get_format_argument_expression = _get_comparison_argument_expression = _binary
    _get_logical_argument_expression = _get_bitwise_argument_expression = _binary

    # Members

    def _get_element_access(self, node: Node) -> Value:
        holder, key = (self._value(each) for each in node.named_children)
        return operators.element(holder, key)

    def _get_type_literal(self, node: Node) -> str:
        return _type_name(node)

    def _get_member_access(self, node: Node) -> Value:
        holder, name = node.named_children
        if holder.type == "type_literal":
            return self._static(holder)(_text(name).lower(), [])
        return operators.member(self._value(holder), _text(name))

    def _get_invokation_expression(self, node: Node) -> Value:
        holder, name, arguments = node.named_children
        values = [self._value(each) for each in _list_of(arguments)]
        line = node.start_point[0] + 1
        try:
            if holder.type == "type_literal":
                value = self._static(holder)(_text(name).lower() + "()", values)
                return NOTHING if value is None else value
            value = operators.method(self._value(holder), _text(name), values)
            return NOTHING if value is None else value
        except Thrown as thrown:
            thrown.line = thrown.line or line
            raise
        except Unknown as exc:
            raise Unknown(f"{exc} (line {line})") from None

    def _static(self, node: Node) -> Static:
        kind = _type_name(node)
        if kind not in self._statics:
            raise Unknown(f"there is no class {kind}")
        return self._statics[kind]


class Given(list[Value]):
    """Arguments in parentheses behind a type: ``New-Object a.b(1, 2)``."""


class Settable:
    """An object of .NET's whose properties may be set."""

    def __init__(self, **properties: Value) -> None:
        self.properties = properties

    def get(self, name: str) -> Value:
        """Return a property."""
        return self.properties.get(name.lower())

    def set(self, name: str, value: Value) -> None:
        """Set a property."""
        self.properties[name.lower()] = value


def error_record(thrown: Thrown) -> Record:
    """Return what ``$_`` is in a ``catch``."""
    error: Error = thrown.error
    place = Record(scriptlinenumber=thrown.line)
    return Record(
        "error", exception=error, fullyqualifiederrorid=thrown.error_id, invocationinfo=place, thrown=thrown
    )


def _inner(node: Node) -> Node:
    """Return the expression in a chain of levels of which each has one child."""
    while node.child_count == 1 and node.type not in _WHOLE:
        child = node.children[0]
        if child.child_count == 0 and not child.is_named:
            break
        node = child
    return node


def _only(node: Node) -> Node:
    (child,) = [each for each in node.named_children if each.type != "comment"]
    return _inner(child)


def _list_of(node: Node) -> list[Node]:
    found = _child_or_none(node, "argument_expression_list")
    return [] if found is None else list(found.named_children)


def _parameter(node: Node) -> tuple[str, str]:
    attribute = _child_or_none(node, "attribute_list")
    kind = "" if attribute is None else _text(attribute).strip()[1:-1].lower()
    return _text(_child(node, "variable"))[1:].lower(), kind


def _type_name(node: Node) -> str:
    name = re.sub(r"\s", "", _text(node)).strip("[]").lower() + ("[]" if _text(node).endswith("[]]") else "")
    return name.removeprefix("system.")


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _child(node: Node, kind: str) -> Node:
    found = _child_or_none(node, kind)
    if found is None:
        raise Unknown(f"line {node.start_point[0] + 1}: no {kind} in a {node.type}")
    return found


def _child_or_none(node: Node, kind: str) -> Node | None:
    return next((each for each in node.named_children if each.type == kind), None)


def _all(node: Node, kind: str) -> list[Node]:
    """Return the nearest nodes of a kind."""
    found: list[Node] = []
    for child in node.named_children:
        found += [child] if child.type == kind else _all(child, kind)
    return found


def _unescaped(raw: str) -> str:
    return re.sub(r"`(.)", lambda found: _ESCAPES.get(found.group(1), found.group(1)), raw.replace('""', '"'))
