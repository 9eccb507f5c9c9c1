"""The distribution over the elements of any space: one simple distribution per leaf, independent of each other."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space, spaces

from ._base import BaseProbaDist, read_params
from ._categorical import CategoricalDist
from ._masks import mask_parts, split_mask
from ._normal import NormalDist

__all__ = ("ProbaDist",)


# --- the tree of a space, and pure functions that walk it -------------------------------------------------------------


class Node(NamedTuple):
    """A space and its parts. An entry of a MultiDiscrete or MultiBinary space is a part of its own."""

    space: Space
    path: str  # from the root, as one would index: ['arm'][1]
    keys: tuple[Any, ...] | None  # None: a leaf
    parts: tuple[Node, ...]


def tree_of(space: Any, path: str = "") -> Node:
    """The tree of a space.

    Raises
    ------
    TypeError
        If it, or a part of it, is of a kind that has no distribution.
    """
    if isinstance(space, spaces.Discrete | spaces.Box):
        return Node(space, path, None, ())
    named: dict[Any, Any]
    if isinstance(space, spaces.Dict):
        named = dict(space.spaces)
    elif isinstance(space, spaces.Tuple):
        named = dict(enumerate(space.spaces))
    elif isinstance(space, spaces.MultiDiscrete):
        rows = zip(space.nvec.flat, np.asarray(space.start).flat, strict=True)
        named = {i: spaces.Discrete(int(n), start=int(start)) for i, (n, start) in enumerate(rows)}
    elif isinstance(space, spaces.MultiBinary):
        named = {i: spaces.Discrete(2) for i in range(int(np.prod(space.shape)))}
    else:
        raise TypeError(
            f"space{path}: expected Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these, "
            f"got {space!r}. Fix: turn it into one of these with a gymnasium wrapper."
        )
    parts = tuple(tree_of(child, f"{path}[{key!r}]") for key, child in named.items())
    return Node(space, path, tuple(named), parts)


def leaves_of(node: Node) -> list[Node]:
    """The leaves, row by row."""
    return [node] if node.keys is None else [leaf for part in node.parts for leaf in leaves_of(part)]


def split(node: Node, tree: Any, name: str, spread: Callable[[Any], bool] = lambda tree: False) -> list[Any]:
    """What a tuple, list or mapping of the structure of `node` holds for each leaf.

    Where `spread` says so, one thing stands for all leaves below.

    Raises
    ------
    ValueError
        If it has another structure.
    """
    if node.keys is None:
        return [tree]
    if spread(tree):
        return [tree] * len(leaves_of(node))
    if isinstance(node.space, spaces.Dict):
        fits, want = isinstance(tree, Mapping) and tree.keys() == set(node.keys), f"a dict with keys {list(node.keys)}"
    else:
        fits, want = isinstance(tree, tuple | list) and len(tree) == len(node.keys), f"a tuple of {len(node.keys)}"
    if not fits:
        got = f"the keys {list(tree)}" if isinstance(tree, Mapping) else type(tree).__name__
        got += f" of length {len(tree)}" if isinstance(tree, tuple | list) else ""
        raise ValueError(f"{name}{node.path}: expected {want} for {node.space}, got {got}. Fix: give one of each part.")
    found = (split(part, tree[key], name, spread) for key, part in zip(node.keys, node.parts, strict=True))
    return [leaf for part in found for leaf in part]


def split_element(node: Node, x: Any) -> list[Any]:
    """The elements of the leaves that elements [..., *element] consist of."""
    if node.keys is None:
        return [x]
    if isinstance(node.space, spaces.Tuple | spaces.Dict):
        found = (split_element(part, x[key]) for key, part in zip(node.keys, node.parts, strict=True))
        return [leaf for part in found for leaf in part]
    x = jnp.asarray(x)
    rows = x.reshape(*x.shape[: x.ndim - len(node.space.shape or ())], len(node.keys))
    return [rows[..., i] for i in node.keys]


def split_masks(node: Node, mask: Any) -> list[Any]:
    """The masks of the leaves, None for those without one."""
    if node.keys is None:
        return [mask]
    if mask is None:
        return [None] * len(leaves_of(node))
    name = f"mask{node.path}"
    if isinstance(node.space, spaces.Tuple | spaces.Dict):
        masks = mask_parts(name, mask, list(node.keys), node.space)
        return [leaf for part, m in zip(node.parts, masks, strict=True) for leaf in split_masks(part, m)]
    sizes = [int(part.space.n) for part in node.parts if isinstance(part.space, spaces.Discrete)]
    return split_mask(name, mask, sizes)


def join(node: Node, leaves: Iterator[Any], sequence: Callable[[Iterable[Any]], Any]) -> Any:
    """The opposite of `split`; `sequence` is list or tuple."""
    if node.keys is None:
        return next(leaves)
    parts = [join(part, leaves, sequence) for part in node.parts]
    return dict(zip(node.keys, parts, strict=True)) if isinstance(node.space, spaces.Dict) else sequence(parts)


def join_element(node: Node, leaves: Iterator[Any]) -> Any:
    """The opposite of `split_element`."""
    if node.keys is None:
        return next(leaves)
    parts = [join_element(part, leaves) for part in node.parts]
    if isinstance(node.space, spaces.Dict):
        return dict(zip(node.keys, parts, strict=True))
    if isinstance(node.space, spaces.Tuple):
        return tuple(parts)
    rows = jnp.stack(parts, axis=-1)
    return rows.reshape(*rows.shape[:-1], *(node.space.shape or ()))


# --- the bundle -------------------------------------------------------------------------------------------------------


class ProbaDist(BaseProbaDist):
    r"""Distribution over the elements of a space of any structure: its leaves are independent of each other.

    A Discrete space is one leaf, and so is a Box; a MultiDiscrete or MultiBinary space has a Discrete leaf per entry,
    row by row. Tuple and Dict spaces may hold any of these and each other. Log-probabilities, entropies and divergences
    are sums over the leaves.

    Distribution parameters are those of the leaves: a tuple of them for a Tuple, MultiDiscrete or MultiBinary space, a
    dict for a Dict space (a list is as good as a tuple). Variates have the same structure, with lists.

    Parameters
    ----------
    space : gymnasium.Space
        Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these.
    discrete : callable, optional
        Makes the distribution of a Discrete leaf from its space.
    box : callable, optional
        Makes the distribution of a Box leaf from its space. For other hyperparameters than the default ones:
        ``functools.partial(NormalDist, clip_logvar=(-10., 4.))``.

    Raises
    ------
    TypeError
        If a part of the space is of another kind, or a callable does not return a distribution.

    Examples
    --------
    >>> space = gymnasium.spaces.Dict(arm=gymnasium.spaces.MultiDiscrete([2, 3]), wait=gymnasium.spaces.Discrete(4))
    >>> jax.tree.map(jnp.shape, coax.proba_dists.ProbaDist(space).default_priors)
    {'arm': ({'logits': (1, 2)}, {'logits': (1, 3)}), 'wait': {'logits': (1, 4)}}
    """

    def __init__(
        self,
        space: gymnasium.Space,
        *,
        discrete: Callable[[Any], BaseProbaDist] = CategoricalDist,
        box: Callable[[Any], BaseProbaDist] = NormalDist,
    ):
        self._tree = tree_of(space)
        self._leaves = [_leaf_dist(node, discrete, box) for node in leaves_of(self._tree)]
        if not self._leaves:
            raise TypeError(f"space: expected a space with at least one leaf, got {space!r}. Fix: leave it out.")
        self._equal = _equal_ones(self._leaves)
        self._shapes = [{key: np.shape(x)[1:] for key, x in leaf.default_priors.items()} for leaf in self._leaves]
        self._set_up(space, {})
        self._key = (*self._key, *(leaf._key for leaf in self._leaves))

    @property
    def hyperparams(self) -> Any:
        """Those of the leaves: a dict for a leaf, tuples and dicts of them as in the distribution parameters."""
        return self._join((leaf.hyperparams for leaf in self._leaves), tuple)

    @property
    def default_priors(self) -> Any:
        """Those of the leaves, in tuples and dicts."""
        return self._join((leaf.default_priors for leaf in self._leaves), tuple)

    # --- structure

    def _params(self, dist_params: Any) -> list[Any]:
        """The parameters of the leaves, all with the same leading axes."""
        parts = split(self._tree, dist_params, self._name)
        leading: dict[tuple[int, ...], str] = {}
        for leaf, part, shapes in zip(self._leaves, parts, self._shapes, strict=True):
            array, trailing = read_params(leaf._name, part, shapes)[0], next(iter(shapes.values()))
            leading.setdefault(array.shape[: array.ndim - len(trailing)], leaf._name)
        if len(leading) > 1:
            got = " and ".join(f"{axes} in {name}" for axes, name in leading.items())
            raise ValueError(
                f"{self._name}: expected the same leading axes on all parts, got {got}. "
                "Fix: give all leaves the same leading axes."
            )
        return parts

    def _join(self, leaves: Iterable[Any], sequence: Callable[[Iterable[Any]], Any] = list) -> Any:
        return join(self._tree, iter(leaves), sequence)

    def _each(self, method: str, *args: list[Any]) -> list[Any]:
        return [getattr(leaf, method)(*rest) for leaf, *rest in zip(self._leaves, *args, strict=True)]

    def _draw(self, method: str, args: list[Any], rng: jax.Array) -> list[Any]:
        """What a method does with the argument of each leaf and a key of its own, or `rng` if there is a single leaf.

        Equal leaves go through it side by side: random numbers take long to compile, and are compiled once then.
        """
        keys: Any = [rng] if len(args) == 1 else jax.random.split(rng, len(args))
        found = [None] * len(args)
        for same in self._equal:
            run = getattr(self._leaves[same[0]], method)
            shapes = {tuple(map(np.shape, jax.tree.leaves(args[i]))) for i in same}
            if len(same) == 1 or len(shapes) > 1:  # the leaf has an error for shapes that differ
                for i in same:
                    found[i] = getattr(self._leaves[i], method)(args[i], keys[i])
                continue
            side_by_side = jax.vmap(run)(jax.tree.map(lambda *x: jnp.stack(x), *(args[i] for i in same)), keys[same])
            for at, i in enumerate(same):
                found[i] = jax.tree.map(lambda x, at=at: x[at], side_by_side)
        return found

    # --- sums over the leaves

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-probability f32[...] of variates, in nats."""
        return _total(self._each("log_proba", self._params(dist_params), split(self._tree, X, "X")))

    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[Any, jax.Array]:
        """Variates, and the log-probability f32[...] of the elements that they stand for."""
        pairs = self._draw("sample_and_log_proba", self._params(dist_params), rng)
        return self._join(X for X, _ in pairs), _total([logp for _, logp in pairs])

    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p``, f32[...], in nats."""
        return _total(self._each("entropy", self._params(dist_params)))

    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q``, f32[...], in nats."""
        return _total(self._each("cross_entropy", self._params(dist_params_p), self._params(dist_params_q)))

    def kl_divergence(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``E_p log(p / q)``, f32[...], in nats."""
        return _total(self._each("kl_divergence", self._params(dist_params_p), self._params(dist_params_q)))

    # --- leaf by leaf

    def sample(self, dist_params: Any, rng: jax.Array) -> Any:
        """Variates of all leaves, from one key; a single leaf gets the key itself."""
        return self._join(self._draw("sample", self._params(dist_params), rng))

    def mean(self, dist_params: Any) -> Any:
        """The means of the leaves."""
        return self._join(self._each("mean", self._params(dist_params)))

    def mode(self, dist_params: Any) -> Any:
        """The modes of the leaves."""
        return self._join(self._each("mode", self._params(dist_params)))

    def affine_transform(self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None) -> Any:
        """Distribution parameters of ``f(scale * f_inverse(X) + shift)``.

        Parameters
        ----------
        dist_params : tuple or dict
        scale, shift : f32[] or f32[...], or tuple or dict of these
            One for all leaves, or one per part.
        value_transform : ValueTransform, or pair of functions, or None, or tuple or dict of these, optional
            One for all leaves, or one per part.

        Raises
        ------
        NotImplementedError
            If a leaf is categorical.
        """
        parts = self._params(dist_params)
        scales, shifts = (
            split(self._tree, x, name, lambda x: not isinstance(x, tuple | list | Mapping))
            for name, x in (("scale", scale), ("shift", shift))
        )
        transforms = split(self._tree, value_transform, "value_transform", _is_transform)
        return self._join(self._each("affine_transform", parts, scales, shifts, transforms), tuple)

    def masked(self, dist_params: Any, mask: Any) -> Any:
        """The same with probability 0 for what a mask excludes.

        Parameters
        ----------
        dist_params : tuple or dict
        mask : bool[..., A], or tuple or dict of masks, or None
            A mask per part, None for a part without one. For a MultiDiscrete (or MultiBinary) space either a tuple with
            a mask per entry, or the masks of all entries side by side in one array.

        Raises
        ------
        ValueError
            If it does not fit the space, or allows nothing.
        """
        parts = self._params(dist_params)
        return self._join(self._each("masked", parts, split_masks(self._tree, mask)), tuple)

    # --- elements

    def sample_element(self, dist_params: Any, rng: jax.Array) -> Any:
        """Elements of the space, exact samples, as jax arrays."""
        leaves = self._draw("sample_element", self._params(dist_params), rng)
        return join_element(self._tree, iter(leaves))

    def to_element(self, X: Any, rng: jax.Array) -> Any:
        """The elements that variates stand for, as jax arrays; the key breaks ties."""
        leaves = self._draw("to_element", split(self._tree, X, "X"), rng)
        return join_element(self._tree, iter(leaves))

    def from_element(self, x: Any) -> Any:
        """The variates that stand for elements given as arrays."""
        return self._join(self._each("from_element", split_element(self._tree, x)))


def _leaf_dist(node: Node, discrete: Callable[[Any], Any], box: Callable[[Any], Any]) -> BaseProbaDist:
    name, make = ("discrete", discrete) if isinstance(node.space, spaces.Discrete) else ("box", box)
    dist = make(node.space)
    if not isinstance(dist, BaseProbaDist):
        raise TypeError(
            f"{name}: expected a function that returns a distribution, got {type(dist).__name__} for {node.space}. "
            "Fix: pass for instance CategoricalDist or functools.partial(NormalDist, clip_logvar=(-10., 4.))."
        )
    dist = copy.copy(dist)  # errors of the leaf shall know its path, and the object may belong to the user
    dist._name = f"dist_params{node.path}"
    return dist


def _equal_ones(dists: list[BaseProbaDist]) -> list[np.ndarray]:
    """The positions of equal ones, together."""
    groups: dict[BaseProbaDist, list[int]] = {}
    for i, dist in enumerate(dists):
        groups.setdefault(dist, []).append(i)
    return [np.array(same) for same in groups.values()]


def _is_transform(x: Any) -> bool:
    """Whether this is one value transform rather than a structure of them."""
    return not isinstance(x, tuple | list | Mapping) or (isinstance(x, tuple | list) and all(map(callable, x)))


def _total(leaves: list[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, leaves)
