"""The shell around a forward-pass function: keeps the state, moves data in and out, calls the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Entry, Rng, as_seed, draw_key, key_of_seed
from .._sharing import Rule
from .._stateful import Stateful, check_like, is_tracing, refuse_in_trace, structural_difference
from ..utils import make_cast
from ..value_transforms import ValueTransform
from ._action_mask import ActionMask
from ._preprocessing import prepare
from ._rule import FunctionRule

__all__ = ("Function", "action_batch", "flat_batch", "like_input", "with_leading")


class Function(Stateful):
    """Base of the function approximators.

    The state has the entries ``params``, ``function_state`` (both as Haiku has them) and ``rng``.
    """

    rule: Any
    action_space: Any  # of those that have one
    _forward: FunctionRule

    def _set_up(
        self,
        forward: FunctionRule,
        random_seed: Any,
        rule: Rule | None = None,
        init: Callable[[jax.Array], dict[str, Any]] | None = None,
    ) -> None:
        """Find a state; `rule` is what updaters look at, where that is more than the forward pass.

        `init` is where the state comes from, if it is not that of one forward pass.
        """
        if forward.fault is not None:
            raise TypeError(f"{type(self).__name__}: {forward.fault}")
        self._forward, self.rule = forward, forward if rule is None else rule
        self._cast_observation = make_cast(forward.observation_space, "s")
        if forward.action_space is not None:
            self._cast_action = make_cast(forward.action_space, "a")
        self._random_seed = as_seed(random_seed)
        seed = _within_32_bits(self._random_seed)
        state = forward.seeded(seed) if init is None else init(key_of_seed(seed))
        self._write({**state, "rng": _counted_on_host(state["rng"])}, frozenset(("params", "function_state")))

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters, function state and random stream."""
        return self._forward.init(key)

    @property
    def observation_space(self) -> gymnasium.Space:
        """Where the observations come from."""
        return self._forward.observation_space

    @property
    def action_mask(self) -> ActionMask | None:
        """Where the observations say which actions are allowed, if the environment said so."""
        return self._forward.mask

    # --- views of the state

    params = Entry("The parameters, as Haiku has them.")
    function_state = Entry("The function state, as Haiku has it.")

    @property
    def rng(self) -> jax.Array:
        """A fresh key. Every read gives another one; nothing inside coax reads it."""
        return draw_key(self)

    @property
    def random_seed(self) -> Any:
        """The seed, an int or a key. Setting it starts the random stream anew; the parameters stay."""
        return self._random_seed

    @random_seed.setter
    def random_seed(self, seed: Any) -> None:
        refuse_in_trace(self, "random_seed = ...")
        seed = as_seed(seed)
        self._write({**self._peek(), "rng": self._forward.stream(key_of_seed(_within_32_bits(seed)))}, self._owned)
        self._random_seed = seed

    def _child_seed(self) -> int:
        """Another seed each time, for an object that is built on it."""
        refuse_in_trace(self, "another object on top of it,")
        rng = self._peek()["rng"]
        self._write({**self._peek(), "rng": rng.advanced()}, self._owned)
        seed = _within_32_bits(self._random_seed)
        words = [seed] if isinstance(seed, np.uint32) else np.asarray(jax.random.key_data(seed)).ravel()
        return int(np.random.SeedSequence([*map(int, words), int(rng.count)]).generate_state(1)[0] >> 1)

    @property
    def function(self) -> Callable[..., Any]:
        """The pure function ``(params, function_state, rng, *inputs) -> (output, function_state)``, compiled.

        The inputs are those of the forward pass, preprocessed; ``is_training`` is static.
        """
        return self._forward.function

    @property
    def observation_preprocessor(self) -> Callable[..., Any]:
        """``func(rng, S)`` on batches of observations."""
        return self._forward.observe.func

    @property
    def value_transform(self) -> ValueTransform:
        """The output of the function lives in the space that it transforms to."""
        return self._forward.value_transform

    def soft_update(self, other: Function, tau: float) -> None:
        r"""Move towards another function: :math:`\theta \leftarrow (1-\tau)\,\theta + \tau\,\theta_\text{other}`.

        Parameters
        ----------
        other : same class
            Whose ``params`` and ``function_state`` to move towards.
        tau : float in [0, 1]
            How far: 1 copies.

        Raises
        ------
        TypeError
            If `other` is not of this class, its state differs in structure, shapes or dtypes, or `tau` is no number.
        ValueError
            If `tau` is outside [0, 1].
        """
        if not isinstance(other, type(self)):
            raise TypeError(
                f"soft_update: expected a {type(self).__name__}, got {type(other).__name__}. Fix: pass a copy's origin."
            )
        if not _is_number(tau):
            raise TypeError(f"tau: expected a number in [0, 1], got {tau!r}. Fix: pass a float; 1 copies.")
        if not isinstance(tau, jax.Array) and not 0 <= tau <= 1:
            raise ValueError(f"tau: expected a number in [0, 1], got {tau}. Fix: 1 copies, small numbers trail slowly.")
        mine, theirs = self._peek(), other._peek()
        old, new = ({name: state[name] for name in ("params", "function_state")} for state in (mine, theirs))
        if jax.tree.structure(old) != jax.tree.structure(new):  # type: ignore[operator]
            raise TypeError(
                f"soft_update: expected a {type(self).__name__} of the same forward pass, got another: "
                f"{structural_difference(old, new)}. Fix: pass what this is a copy of: q_targ = q.copy(), "
                "then q_targ.soft_update(q, tau)."
            )
        moved = _interpolate(old, new, tau if isinstance(tau, jax.Array) else np.float64(tau))
        self._write({**mine, **moved})

    # --- data in and out

    def _observations(self, s: Any) -> tuple[Any, tuple[int, ...]]:
        """A batch with one leading axis, host-only preprocessing done, and the leading axes that came in."""
        batch, lead = flat_batch(*self._cast_observation(s))
        return prepare(batch, (self._forward.observe,)), lead

    def _draw(self, state: dict[str, Any]) -> Rng | None:
        """The place of this call in the random stream, if the function draws at all."""
        if not self._forward.uses_rng:
            return None
        self._write({**state, "rng": state["rng"].advanced()}, self._owned)
        return state["rng"]


def action_batch(function: Any, a: Any, lead: tuple[int, ...], preprocessors: tuple | None = None) -> Any:
    """Actions for a batch of observations with the same leading axes, host-only preprocessing done."""
    batch, lead_a = flat_batch(*function._cast_action(a))
    if lead_a != lead:
        raise ValueError(
            f"actions: expected the leading axes of the observations, {lead}, got {lead_a}. "
            "Fix: pass one action per observation."
        )
    return prepare(batch, (function._forward.act,) if preprocessors is None else preprocessors)


def flat_batch(x: Any, lead: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """All leading axes made one; a single element becomes a batch of one."""
    n = len(lead)
    if isinstance(x, np.ndarray):
        return x.reshape(-1, *x.shape[n:]) if n != 1 else x, lead
    if n == 1:
        return x, lead
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[n:]), x), lead


def like_input(out: jax.Array, lead: tuple[int, ...]) -> Any:
    """A result [B, ...] with the leading axes that came in: on the host, or inside a trace where it is."""
    found: Any = out if is_tracing() else np.asarray(out)
    return found.reshape((*lead, *found.shape[1:]))


def with_leading(out: Any, lead: tuple[int, ...]) -> Any:
    """Leaves [B, ...] with the leading axes that came in, on the host or inside a trace where they are."""
    return jax.tree.map(lambda leaf: like_input(leaf, lead), out)


def _is_number(x: Any) -> bool:
    if isinstance(x, int | float):
        return True
    return isinstance(x, jax.Array | np.ndarray | np.generic) and x.shape == () and x.dtype.kind not in "cOSUM"


def _within_32_bits(seed: Any) -> Any:
    """An int as u32[]; a key is one already."""
    return np.uint32(seed & 0xFFFFFFFF) if isinstance(seed, int) else seed


def _counted_on_host(rng: Rng) -> Rng:
    return Rng(rng.key, np.zeros((), np.uint32))


@jax.jit
def _interpolate(old: Any, new: Any, tau: jax.Array) -> Any:
    check_like("the other function", old, new)  # shapes and dtypes only: costs nothing once compiled

    def leaf(a: jax.Array, b: jax.Array) -> jax.Array:
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return jnp.where(tau > 0, b, a)
        t = tau.astype(a.dtype)
        return jnp.where(t == 1, b, (1 - t) * a + t * b)  # a copy also of what is not finite

    return jax.tree.map(leaf, old, new)
