"""LOSS as text: a name, with parameters in brackets, or a weighted sum of them. Imports the standard library only.

>>> parse("cosine + 0.1 * cosent(scale=30)")
[Term(weight=1.0, name='cosine', parameters={}), Term(weight=0.1, name='cosent', parameters={'scale': 30.0})]
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field
from typing import Any

from connection.training.losses import LOSSES, Entry, Parameter

MOST_LETTERS = 1_000  # of LOSS


@dataclass(frozen=True)
class Term:
    """A loss of the sum: its factor, its name in LOSSES, and the parameters that are not left at their defaults."""

    weight: float
    name: str
    parameters: dict[str, float] = field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        return LOSSES[self.name]


def check_loss(text: str) -> str | None:
    """What is wrong with LOSS ("must be …"), or None."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


def parse(text: str) -> list[Term]:
    """The terms of LOSS. Raises ValueError, whose text goes on after "LOSS is …;"."""
    if text in LOSSES:
        return [Term(1.0, text)]
    try:
        if len(text) > MOST_LETTERS:
            raise SyntaxError
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(_requirement()) from None
    terms = [_term(part) for part in _summands(tree)]
    names = [term.name for term in terms]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"must name each loss once; {double} is there twice")
    return terms


def chooses(text: str) -> bool:
    """Whether a loss of the sum chooses among candidates."""
    return any(term.entry.chooses for term in parse(text))


def _summands(tree: ast.expr) -> list[ast.expr]:
    parts: list[ast.expr] = []
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        parts.append(tree.right)
        tree = tree.left
    return [tree, *reversed(parts)]


def _term(tree: ast.expr) -> Term:
    weight = 1.0
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        number, tree = (tree.left, tree.right) if isinstance(tree.left, ast.Constant) else (tree.right, tree.left)
        weight = _number(number)
        if not 0 < weight <= 1e6:
            raise ValueError("must have factors above 0, up to 1,000,000")
    called = tree.func if isinstance(tree, ast.Call) else tree
    if not isinstance(called, ast.Name) or called.id not in LOSSES:
        raise ValueError(_requirement())
    parameters: dict[str, float] = {}
    if isinstance(tree, ast.Call):
        known = LOSSES[called.id].parameters
        if tree.args or any(keyword.arg not in known for keyword in tree.keywords):
            listed = ", ".join(f"{name}={_shown(parameter)}" for name, parameter in known.items())
            raise ValueError(f"must give the parameters of {called.id} by name: {listed or 'it has none'}")
        for keyword in tree.keywords:
            assert keyword.arg is not None  # as ** would have, and it is not in `known`
            bounds = known[keyword.arg]
            value = _switch(keyword) if bounds.is_switch else _number(keyword.value)
            if not bounds.low <= value <= bounds.high:
                raise ValueError(f"must have a {keyword.arg} from {bounds.low:g} to {bounds.high:g} in {called.id}")
            parameters[keyword.arg] = value
    return Term(weight, called.id, parameters)


def _switch(keyword: ast.keyword) -> bool:
    value: Any = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    if not isinstance(value, bool):
        raise ValueError(f"must have True or False for {keyword.arg}")
    return value


def _number(tree: ast.expr) -> float:
    value: Any = tree.value if isinstance(tree, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError('must have plain numbers, as in "cosine + 0.1 * cosent(scale=30)"')
    return float(value)


def _shown(parameter: Parameter) -> str:
    return str(bool(parameter.default)) if parameter.is_switch else f"{parameter.default:g}"


def _requirement() -> str:
    listed = ", ".join(f'"{name}"' for name in LOSSES)
    return f'must be one of {listed}, or a sum such as "cosine + 0.1 * cosent(scale=30)"'
