"""NumPy generators as arrays, so that they can be part of a state."""

from __future__ import annotations

import numpy as np

__all__ = ("generator_from_array", "generator_to_array")

_WORD = (1 << 64) - 1


def generator_to_array(generator: np.random.Generator) -> np.ndarray:
    """The state of a generator from ``np.random.default_rng``, as u64[6].

    Raises
    ------
    TypeError
        If the generator is not a PCG64 one.
    """
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise TypeError(
            f"expected a PCG64 generator, got {state['bit_generator']}. Fix: use np.random.default_rng(seed)."
        )
    s, inc = state["state"]["state"], state["state"]["inc"]
    return np.array([s >> 64, s & _WORD, inc >> 64, inc & _WORD, state["has_uint32"], state["uinteger"]], np.uint64)


def generator_from_array(array: np.ndarray) -> np.random.Generator:
    """A generator that goes on where the one given to :func:`generator_to_array` was.

    Raises
    ------
    TypeError
        If the array is no such state.
    """
    if (
        getattr(array, "dtype", None) != np.uint64
        or array.shape != (6,)
        or array[4] > 1
        or array[5] >> 32
        or not array[3] & 1
    ):
        raise TypeError(f"expected the state of a generator, u64[6], got {array!r:.80}. Fix: pass one that was read.")
    s_high, s_low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in array)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": s_high << 64 | s_low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
