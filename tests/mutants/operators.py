"""What is changed: few kinds of changes, and strong ones.

Not changed are texts (strings, docstrings, what is logged, `__repr__` and `__str__`), and what only types need. Nor are
numbers that have a name, in capitals, outside of functions: they are chosen, and another one would do, so tests take
them from there. A number is changed in one direction, as the other one tells the same. And nothing is made to return
None where the type does not allow that: there mypy notices.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_LOGGING = ("log", "_log", "LOGGER", "logging", "warnings")
_UNTESTED = ("__repr__", "__str__")
_ANY_ORDER = ("min", "max", "suppress")
_HELD = ("lock", "changed")
"""What a `with` that holds a lock ends in: whether one is missed, only luck would show."""


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: The module's file, in the package.
        function: The outermost function that it is in, or "" outside of all.
        line: Its line.
        last: The last line of its statement.
        text: That line.
        mutation: What is changed.
        nth: Which it is of several that are called the same.
    """

    module: str
    function: str
    line: int
    last: int
    text: str
    mutation: str
    nth: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """Get what identifies it as long as its line is not changed."""
        return self.module, self.function, self.text, self.mutation, self.nth

    @property
    def name(self) -> str:
        """Get the same in words."""
        more = f" ({self.nth})" if self.nth > 1 else ""
        return f"{self.module}:{self.function}: {self.text} [{self.mutation}{more}]"

    def __str__(self) -> str:
        """Name it, and say where it is."""
        return f"{self.name} at {self.line}"


Change = tuple[str, ast.AST]


class _Finder(ast.NodeVisitor):
    """Finds places and what they can be changed to, in the order of the source."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, ast.stmt, str, str, Any]] = []
        self._statement: ast.stmt | None = None
        self._functions: list[ast.FunctionDef] = []
        self._classes: list[str] = []

    def change(self, node: ast.AST, mutation: str, new: Any) -> None:
        assert self._statement is not None
        outermost = self._functions[0].name if self._functions else ""
        function = ".".join([*self._classes, outermost]) if outermost else ""
        self.found.append((node, self._statement, function, mutation, new))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            before, self._statement = self._statement, node
            super().visit(node)
            self._statement = before
        else:
            super().visit(node)

    # What is passed over

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(isinstance(base, ast.Name) and base.id in ("Protocol", "TypedDict") for base in node.bases):
            return
        if self._functions:
            return
        self._classes.append(node.name)
        for each in node.body:
            self.visit(each)
        self._classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        overload = any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
        if node.name in _UNTESTED or overload:
            return
        self._functions.append(node)
        for each in node.body:
            self.visit(each)
        self._functions.pop()

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave texts alone."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._assigned(node, node.target)
        if node.value is not None:
            self.visit(node.value)

    @property
    def _named(self) -> bool:
        """Whether this is what a constant's name stands for."""
        named = isinstance(self._statement, (ast.Assign, ast.AnnAssign))
        return named and not self._functions and not self._classes

    # Statements

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        if _root(test) in _LOGGING:
            return
        simple = isinstance(test, (ast.Name, ast.Attribute, ast.Call, ast.NamedExpr, ast.Subscript))
        if simple:
            self.change(test, "negated", _not(test))

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        if isinstance(node.value, ast.Call):
            if _logs(node.value):
                return
            self.change(node, "dropped", ast.Pass())
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assigned(node, node.targets[0])
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self.visit(target)
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.change(node, "dropped", ast.Pass())
        self._computed(node)
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self.change(node, "dropped", ast.Pass())

    def _assigned(self, node: ast.Assign | ast.AnnAssign, target: ast.expr) -> None:
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        initial = any(each.name == "__init__" for each in self._functions)  # without it, all tests fail
        if (
            node.value is not None
            and not initial
            and any(isinstance(t, (ast.Attribute, ast.Subscript)) for t in targets)
        ):
            self.change(node, "dropped", ast.Pass())

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            returns = self._functions[-1].returns
            if returns is None or "None" in (text := ast.unparse(returns)) or text in ("Any", "object"):
                self.change(node, "returns None", ast.Return(ast.Constant(None)))
            if isinstance(returns, ast.Name) and returns.id == "bool" and not isinstance(node.value, ast.Constant):
                self.change(node, "returns the contrary", ast.Return(_not(node.value)))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Drop it; what its text says is not changed."""
        self.change(node, "dropped", ast.Pass())

    def visit_Break(self, node: ast.Break) -> None:
        self.change(node, "continue", ast.Continue())

    def visit_Continue(self, node: ast.Continue) -> None:
        self.change(node, "break", ast.Break())

    def visit_Try(self, node: ast.Try) -> None:
        for number, handler in enumerate(node.handlers):
            kind = "everything" if handler.type is None else ast.unparse(handler.type)
            others = [each for index, each in enumerate(node.handlers) if index != number]
            new = ast.Try(node.body, others, node.orelse, node.finalbody)
            bare: Any = new if others or node.finalbody else ast.If(ast.Constant(1), [*node.body, *node.orelse], [])
            self.change(node, f"does not catch {kind}", bare)
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if isinstance(item.context_expr, ast.Call) and "suppress" in ast.unparse(item.context_expr.func):
                others = [each for each in node.items if each is not item]
                new: Any = ast.With(others, node.body) if others else ast.If(ast.Constant(1), node.body, [])
                self.change(node, f"without {ast.unparse(item.context_expr)}", new)
        self.generic_visit(node)

    # Expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            for other in _COMPARED[type(operator)]:
                operators = [*node.ops]
                operators[index] = other()
                new = ast.Compare(node.left, operators, node.comparators)
                self.change(node, f"{_sign(operator)} -> {_sign(other())}", new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.change(node, "and -> or" if isinstance(node.op, ast.And) else "or -> and", ast.BoolOp(other, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.Not, ast.USub)):
            self.change(node, f"without {'not' if isinstance(node.op, ast.Not) else '-'}", node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self._named:
            return
        text = (ast.JoinedStr, ast.Constant)
        if not any(isinstance(side, text) and not _number(side) for side in (node.left, node.right)):
            self._computed(node)
        self.generic_visit(node)

    def _computed(self, node: ast.BinOp | ast.AugAssign) -> None:
        other = _COMPUTED.get(type(node.op))
        if other is not None:
            new = copy.copy(node)
            new.op = other()
            self.change(node, f"{_sign(node.op)} -> {_sign(other())}", new)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.change(node, f"{node.value} -> {not node.value}", ast.Constant(not node.value))
        elif _number(node) and not self._named:
            value: Any = node.value + 1  # type: ignore[operator]
            self.change(node, f"{node.value!r} -> {value}", ast.Constant(value))

    def visit_Call(self, node: ast.Call) -> None:
        if _logs(node) or _name(node.func) in ("cast", "TypeVar", "isinstance", "getattr"):
            return
        plain = not any(isinstance(each, ast.Starred) for each in node.args) and _name(node.func) not in _ANY_ORDER
        if len(node.args) >= 2 and plain and ast.dump(node.args[0]) != ast.dump(node.args[1]):
            first, second, *others = node.args
            self.change(node, "arguments swapped", ast.Call(node.func, [second, first, *others], node.keywords))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Leave what types are made of alone, as far as one can tell."""
        self.visit(node.value)
        self.visit(node.slice)


def _logs(call: ast.Call) -> bool:
    return _root(call.func) in _LOGGING or _name(call.func) in _LOGGING


def _number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _not(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), node)


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _sign(operator: ast.AST) -> str:
    left, right = ast.Name("a"), ast.Name("b")
    if isinstance(operator, ast.cmpop):
        return ast.unparse(ast.Compare(left, [operator], [right]))[2:-2]
    return ast.unparse(ast.BinOp(left, operator, right))[2:-2]  # type: ignore[arg-type]


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> Any:
        if node is self._old:
            return ast.copy_location(self._new, self._old)
        return super().generic_visit(node)


def _places(tree: ast.Module) -> list[tuple[ast.AST, ast.stmt, str, str, Any]]:
    finder = _Finder()
    for each in tree.body:
        finder.visit(each)
    return finder.found


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Get all changes to a module."""
    lines = source.splitlines()
    names: Counter[tuple[str, str, str]] = Counter()
    for node, statement, function, mutation, _ in _places(ast.parse(source)):
        line: int = node.lineno  # type: ignore[attr-defined]
        text = lines[line - 1].strip()
        names[function, text, mutation] += 1
        last = statement.lineno if hasattr(statement, "body") else statement.end_lineno or statement.lineno
        yield Mutant(module, function, line, max(line, last), text, mutation, names[function, text, mutation])


def changed(source: str, number: int) -> ast.Module:
    """Get the tree of a module with the change of this number."""
    tree = ast.parse(source)
    node, _, _, _, new = _places(tree)[number]
    transformed: ast.Module = _Replace(node, new).visit(tree)
    return ast.fix_missing_locations(transformed)
