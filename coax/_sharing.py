"""Rules: the fixed, pure part of an object, shared by all objects that were built from the same ingredients."""

from __future__ import annotations

import weakref
from typing import Any, Self

import gymnasium

from .utils import space_key

__all__ = ("Rule",)

_RULES: weakref.WeakValueDictionary[Any, Rule] = weakref.WeakValueDictionary()


class Rule:
    """Base of the pure parts. Compiled functions belong to a rule, so that a target network compiles nothing.

    Build one with :meth:`shared`. A rule lives as long as an object that uses it; it never refers to such an object.
    """

    _ingredients: tuple

    @classmethod
    def shared(cls, *ingredients: Any) -> Self:
        """The rule of these ingredients: an existing one where they are the same objects, or equal spaces."""
        key = (cls, *map(_identity, ingredients))
        rule = _RULES.get(key)
        if rule is None or not rule.is_current():
            rule = cls(*ingredients)
            rule._ingredients = ingredients
            _RULES[key] = rule
        return rule  # type: ignore[return-value]

    def is_current(self) -> bool:
        """Whether the ingredients still mean what they meant when the rule was made of them."""
        return True

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    def __reduce__(self) -> tuple:
        return _shared, (type(self), *self._ingredients)


def _shared(cls: type[Rule], *ingredients: Any) -> Rule:
    # a function: cloudpickle would store a bound classmethod by value, and with it the table of all rules
    return cls.shared(*ingredients)


class _ById:
    """Stands for an unhashable ingredient in a key, and keeps it alive as long as the key."""

    def __init__(self, obj: Any):
        self.obj = obj

    def __hash__(self) -> int:
        return id(self.obj)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _ById) and other.obj is self.obj


def _identity(ingredient: Any) -> Any:
    if isinstance(ingredient, gymnasium.Space):
        return space_key(ingredient)
    try:
        hash(ingredient)
    except TypeError:
        return _ById(ingredient)
    return ingredient
