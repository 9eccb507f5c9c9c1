"""What a gymnasium space prescribes: a hashable identity, the structure of its elements, and their rank."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv

__all__ = ("children_of", "leading_axes", "same_leading_axes", "single_space", "space_key")


def single_space(env: Any, attribute: str) -> Any:
    """The ``observation_space`` or ``action_space`` of an environment; of several at once, that of each; or None."""
    return getattr(env, f"single_{attribute}" if isinstance(env, VectorEnv) else attribute, None)


class _ById:
    """A hashable stand-in for a space that is only equal to itself. Holds on to it, so that its id is not reused."""

    __slots__ = ("space",)

    def __init__(self, space: Space):
        self.space = space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.space is other.space

    def __hash__(self) -> int:
        return id(self.space)


def _array_key(array: Any) -> tuple:
    array = np.asarray(array)
    return array.shape, array.dtype.str, array.tobytes()


def space_key(space: Space) -> Hashable:
    """A hashable value that is equal for equal spaces, whatever state their generators are in.

    A space of any other class than gymnasium's `Discrete`, `Box`, `MultiDiscrete`, `MultiBinary`, `Tuple` and `Dict`
    (a subclass may mean something else) is only equal to itself.
    """
    kind = type(space)
    if isinstance(space, spaces.Discrete) and kind is spaces.Discrete:
        return "Discrete", int(space.n), int(space.start), np.dtype(space.dtype).str
    if isinstance(space, spaces.Box) and kind is spaces.Box:
        return "Box", np.dtype(space.dtype).str, _array_key(space.low), _array_key(space.high)
    if isinstance(space, spaces.MultiDiscrete) and kind is spaces.MultiDiscrete:
        return "MultiDiscrete", np.dtype(space.dtype).str, _array_key(space.nvec), _array_key(space.start)
    if isinstance(space, spaces.MultiBinary) and kind is spaces.MultiBinary:
        return "MultiBinary", space.shape
    if isinstance(space, spaces.Tuple) and kind is spaces.Tuple:
        return "Tuple", *map(space_key, space.spaces)
    if isinstance(space, spaces.Dict) and kind is spaces.Dict:
        items = sorted(space.spaces.items(), key=lambda item: (type(item[0]).__name__, repr(item[0])))
        return "Dict", *((key, space_key(child)) for key, child in items)
    return _ById(space)


def children_of(space: spaces.Tuple | spaces.Dict, x: Any, name: str) -> list[Any]:
    """The parts of an element of a composite space, in the order of the space's own parts.

    Raises
    ------
    ValueError
        If `x` does not have the parts of the space.
    """
    if isinstance(space, spaces.Tuple):
        if not isinstance(x, tuple | list) or len(x) != len(space.spaces):
            got = f"{type(x).__name__} of length {len(x)}" if isinstance(x, tuple | list) else type(x).__name__
            raise ValueError(
                f"{name}: expected a tuple or list of {len(space.spaces)} parts for {space}, got {got}. "
                "Fix: pass one part per subspace, each with the same leading axes."
            )
        return list(x)
    if not isinstance(x, Mapping) or x.keys() != space.spaces.keys():
        got = f"the keys {list(x)}" if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(
            f"{name}: expected a mapping with the keys {list(space.spaces)}, got {got}. "
            "Fix: pass one part per subspace, each with the same leading axes."
        )
    return [x[key] for key in space.spaces]


def subspaces_of(space: spaces.Tuple | spaces.Dict, name: str) -> list[tuple[str, Space]]:
    """The subspaces of a composite space, with the name by which an error speaks of each."""
    if isinstance(space, spaces.Tuple):
        return [(f"{name}[{i}]", child) for i, child in enumerate(space.spaces)]
    return [(f"{name}[{key!r}]", child) for key, child in space.spaces.items()]


def _leaves(space: Space, x: Any, name: str) -> Iterator[tuple[str, Space, Any]]:
    if isinstance(space, spaces.Tuple | spaces.Dict):
        parts = children_of(space, x, name)
        for (label, child), part in zip(subspaces_of(space, name), parts, strict=True):
            yield from _leaves(child, part, label)
    else:
        yield name, space, x


def leaf_leading_axes(name: str, want: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in front of the `want` ones of a leaf."""
    if len(shape) < len(want):
        raise ValueError(
            f"{name}: expected shape [..., {', '.join(map(str, want))}], got shape {tuple(shape)}, which has too few "
            "axes. Fix: pass one element of the space, or any number of leading axes in front of it."
        )
    return tuple(shape[: len(shape) - len(want)])


def same_leading_axes(found: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> tuple[int, ...]:
    """The leading axes that all leaves share, from (name, shape, leading axes) of each.

    Raises
    ------
    ValueError
        If two leaves differ.
    """
    if not found:
        return ()
    first, first_shape, leading = found[0]
    for name, shape, other in found[1:]:
        if other != leading:
            raise ValueError(
                f"expected the same leading axes on all leaves, got {first} of shape {first_shape} (leading axes "
                f"{leading}) and {name} of shape {shape} (leading axes {other}). "
                "Fix: give all leaves the same leading axes."
            )
    return leading


def leading_axes(space: Space, x: Any, name: str = "x") -> tuple[int, ...]:
    """The axes in front of an element of a space: () for one element, (B,) for a batch, (T, E) for a rollout.

    They are what is left of the shape of a leaf after the rank that the space prescribes. Only ranks are compared, so
    this reads no values and works on tracers.

    Parameters
    ----------
    space : gymnasium.Space
        Tuple spaces take a tuple or list of leaves, Dict spaces a mapping.
    x : pytree
        One element of `space`, or any number of leading axes in front of it.
    name : str, optional
        How errors name it.

    Raises
    ------
    ValueError
        If a leaf has too few axes, if two leaves have different leading axes, or if the structure is not that of the
        space.
    TypeError
        If the elements of the space have no shape.
    """
    found = []
    for label, child, leaf in _leaves(space, x, name):
        shape = tuple(np.shape(leaf))
        found.append((label, shape, leaf_leading_axes(label, leaf_shape(child), shape)))
    return same_leading_axes(found)


def leaf_shape(space: Space) -> tuple[int, ...]:
    """The shape of one element of a space without parts."""
    if not isinstance(space, Space):
        raise TypeError(
            f"space: expected a gymnasium.Space, got {type(space).__name__}. Fix: pass env.observation_space."
        )
    if space.shape is None:
        raise unsupported(space)
    return tuple(space.shape)


def unsupported(space: Space) -> TypeError:
    return TypeError(
        f"space: expected Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these, got {space}. "
        "Fix: turn it into one of these with a gymnasium wrapper."
    )
