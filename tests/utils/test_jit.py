import inspect

import jax
import jax.numpy as jnp
import pytest

from coax.utils import JittedFunc, jit


def test_compiles_once_per_shape():
    traced = []

    @jit
    def f(x, y=1.0):
        """Sum of two."""
        traced.append(x.shape)
        return x + y

    assert isinstance(f, JittedFunc)
    assert f(jnp.ones(2)).tolist() == [2, 2]
    assert f(jnp.zeros(2), y=3.0).tolist() == [3, 3]
    assert f(jnp.ones(2), y=5.0).tolist() == [6, 6]
    assert traced == [(2,), (2,)]  # without and with y


def test_shows_what_it_wraps():
    def f(x, n: int = 2):
        """Power."""
        return x**n

    g = jit(f, static_argnums=(1,), donate_argnums=())
    assert inspect.signature(g) == inspect.signature(f)
    assert repr(g) == "JittedFunc(f(x, n: 'int' = 2))" or repr(g) == "JittedFunc(f(x, n: int = 2))"
    assert (g.__name__, g.__doc__) == ("f", "Power.")
    assert (g.func, g.static_argnums, g.donate_argnums) == (f, (1,), ())
    assert g(jnp.float32(3), 3) == 27


def test_static_arguments_are_python_values():
    f = jit(lambda x, flag: x if flag else -x, static_argnums=1)
    assert f(jnp.float32(2), False) == -2
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jit(lambda x, flag: x if flag else -x)(jnp.float32(2), jnp.bool_(True))


def test_under_transformations():
    f = jit(lambda x: x**3)
    assert jax.grad(f)(2.0) == 12
    assert jax.vmap(f)(jnp.array([1.0, 2.0])).tolist() == [1, 8]
