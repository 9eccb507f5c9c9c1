"""Where the states of an object and of those it refers to lie in a tuple of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

__all__ = ("Plan",)


class Plan(NamedTuple):
    """How to put an object together again from a tuple of states, inside a pure function.

    Hashable and free of references to objects: two updaters that are wired alike have equal plans, and share a rule.
    """

    rule: Any
    at: int
    parts: tuple[Plan, ...]

    @classmethod
    def of(cls, obj: Any, objs: Sequence[Any]) -> Plan:
        """The plan of `obj`, whose state is that of the same position as it has in `objs`."""
        at = next(i for i, other in enumerate(objs) if other is obj)
        return cls(obj.rule, at, tuple(cls.of(child, objs) for child in obj.children))

    def bind(self, states: Sequence[Any], key: Any) -> Any:
        """The rule with states filled in, and a key of its own."""
        own = None if key is None else jax.random.fold_in(key, self.at)
        return self.rule.bind(states[self.at], tuple(part.bind(states, key) for part in self.parts), own)
