"""Piecewise-linear schedules."""

from __future__ import annotations

import itertools
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("StepwiseLinearFunction",)


class StepwiseLinearFunction:
    """A function of time that is linear between given points, and constant before the first and after the last.

    Parameters
    ----------
    *steps : tuple of (int, float)
        Two or more pairs ``(timestep, value)``, with strictly increasing time steps.

    Raises
    ------
    TypeError
        If there are fewer than two steps, or one is not such a pair.
    ValueError
        If the time steps do not increase.

    Examples
    --------
    >>> epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (1_000_000, 0.1), (2_000_000, 0.01))
    >>> pi.epsilon = epsilon(env.T)
    """

    def __init__(self, *steps: tuple[int, float]):
        if len(steps) < 2 or not all(map(_is_step, steps)):
            raise TypeError(
                f"steps: expected two or more tuples (int, float), got {steps}. "
                "Fix: StepwiseLinearFunction((0, 1.0), (1000, 0.1))."
            )
        times = [int(t) for t, _ in steps]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise ValueError(f"steps: expected strictly increasing time steps, got {times}. Fix: sort the steps.")
        self.steps = tuple((int(t), float(value)) for t, value in steps)
        self._times = np.array(times, float)
        self._values = np.array([value for _, value in self.steps])

    def __call__(self, t: Any) -> Any:
        """The value at time `t`: a float for a number, an array for an array.

        Parameters
        ----------
        t : int, float or array
            Inside a compiled function a jax array.
        """
        if isinstance(t, jax.Array):
            dtype = jax.dtypes.canonicalize_dtype(float)
            return jnp.interp(t.astype(dtype), self._times.astype(dtype), self._values.astype(dtype))
        value = np.interp(t, self._times, self._values)
        return value if np.ndim(value) else float(value)

    def __repr__(self) -> str:
        return f"StepwiseLinearFunction({', '.join(map(repr, self.steps))})"


def _is_step(step: Any) -> bool:
    return (
        isinstance(step, tuple)
        and len(step) == 2
        and isinstance(step[0], numbers.Integral)
        and isinstance(step[1], numbers.Real)
    )
