"""Noise that is correlated in time, for exploration with continuous actions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .._entries import generator_of_seed
from .._stateful import HostStateful
from ._generators import generator_from_array, generator_to_array

__all__ = ("OrnsteinUhlenbeckNoise",)

_NUMBERS = ("mu", "sigma", "theta", "min_value", "max_value")


class OrnsteinUhlenbeckNoise(HostStateful):
    r"""Ornstein-Uhlenbeck noise, added to actions.

    The noise X starts at :math:`\mu` and makes one step for each action:

    .. math:: X \leftarrow X + \theta\,(\mu - X) + \sigma\,\varepsilon, \qquad \varepsilon\sim\mathcal N(0, 1)

    Parameters
    ----------
    mu : float or array, optional
        Where the noise returns to.
    sigma : float or array, optional
        Standard deviation of one step.
    theta : float or array, optional
        Part of the distance to `mu` that is lost in one step.
    min_value, max_value : float or array, optional
        The noisy *action* is clipped to these. By default it is as good as unbounded.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Attributes
    ----------
    mu, sigma, theta, min_value, max_value
        As above. May be set at any time: ``noise.sigma *= 0.99``.
    rnd : numpy.random.Generator
        Where the noise comes from.

    References
    ----------
    Lillicrap et al. (2016), section 3; Uhlenbeck and Ornstein (1930).

    Examples
    --------
    >>> noise = coax.utils.OrnsteinUhlenbeckNoise(sigma=0.2, min_value=-1, max_value=1)
    >>> a = noise(np.array([0.5]))
    """

    instead = "add jax.random.normal to the action there, or sample from the policy"

    def __init__(
        self,
        mu: Any = 0.0,
        sigma: Any = 1.0,
        theta: Any = 0.15,
        min_value: Any = None,
        max_value: Any = None,
        random_seed: Any = None,
    ):
        self.mu, self.sigma, self.theta = mu, sigma, theta
        self.min_value = -1e15 if min_value is None else min_value
        self.max_value = 1e15 if max_value is None else max_value
        self._constructed = {name: getattr(self, name) for name in _NUMBERS}
        self._noise: np.ndarray | None = None
        self.random_seed = random_seed

    @property
    def random_seed(self) -> Any:
        """The seed, an int, a key or None. Setting it starts the generator anew."""
        return self._random_seed

    @random_seed.setter
    def random_seed(self, new: Any) -> None:
        self.rnd = generator_of_seed(new)
        self._random_seed = new

    def reset(self) -> None:
        """Start again at `mu`, as at the beginning of an episode."""
        self._on_host("reset")
        self._noise = None

    def __call__(self, a: Any) -> np.ndarray:
        """Add noise to an action.

        Parameters
        ----------
        a : array
            One action, or a batch of them with independent noise. Integers become float32.

        Returns
        -------
        array
            Same shape; same dtype if that is a float.

        Raises
        ------
        ValueError
            If the shape is not that of the previous action since the last :meth:`reset`.
        """
        self._on_host("")
        a = np.asarray(a)
        x = self._noise
        if x is None:
            x = np.broadcast_to(np.asarray(self.mu, float), a.shape)
        elif x.shape != a.shape:
            raise ValueError(f"a: expected shape {x.shape} as before, got {a.shape}. Fix: call reset() first.")
        x = x + self.theta * (self.mu - x) + self.sigma * self.rnd.standard_normal(a.shape)
        self._noise = np.asarray(x)
        dtype = a.dtype if a.dtype.kind == "f" else np.dtype(np.float32)
        return np.asarray(np.clip(a + x, self.min_value, self.max_value)).astype(dtype)

    def init(self, key: jax.Array | None) -> dict[str, Any]:
        """Fresh state: the numbers as constructed, no noise yet, and a generator seeded by the key."""
        return {
            "noise": None,
            "numbers": {name: np.asarray(value, float) for name, value in self._constructed.items()},
            "rng": generator_to_array(generator_of_seed(key)),
        }

    def _snapshot(self) -> dict[str, Any]:
        return {
            "noise": None if self._noise is None else self._noise.copy(),
            "numbers": {name: np.array(getattr(self, name), float) for name in _NUMBERS},
            "rng": generator_to_array(self.rnd),
        }

    def _checked(self, new: Any) -> dict[str, Any]:
        old = self._snapshot()
        if not isinstance(new, dict) or new.keys() != old.keys() or new["numbers"].keys() != old["numbers"].keys():
            raise TypeError(
                f"OrnsteinUhlenbeckNoise.state: expected the entries {list(old)}, got {new!r:.80}. "
                "Fix: pass a state that was read from such an object."
            )
        was, noise = old["noise"], new["noise"]
        if was is not None and noise is not None and np.shape(noise) != was.shape:
            raise TypeError(
                f"OrnsteinUhlenbeckNoise.state['noise']: expected shape {was.shape}, got {np.shape(noise)}. "
                "Fix: call reset() first, if the actions have another shape now."
            )
        numbers = {name: np.array(value, float) for name, value in new["numbers"].items()}
        for name, value in [*numbers.items(), ("noise", 0.0 if noise is None else np.array(noise, float))]:
            if np.isnan(value).any():
                raise TypeError(
                    f"OrnsteinUhlenbeckNoise.state: expected numbers as {name}, got NaN. "
                    "Fix: pass a state that was read from such an object."
                )
        return {
            "noise": None if noise is None else np.array(noise, float),
            "numbers": numbers,
            "rng": generator_from_array(np.asarray(new["rng"])),
        }

    def _take_over(self, new: dict[str, Any]) -> None:
        self._noise, self.rnd = new["noise"], new["rng"]
        for name, value in new["numbers"].items():
            setattr(self, name, value if value.ndim else float(value))
