import collections
import sys

import jax
import jax.numpy as jnp
import numpy as np

from coax.utils import pretty_print, pretty_repr

Point = collections.namedtuple("Point", "x y")


def test_nested():
    data = Point({"k": [1, "two"], "empty": ()}, (jnp.array([[1.0, 2.0, 6.0]]), None))
    expected = """\
Point(
  x={
    'k': [
      1,
      'two'],
    'empty': ()},
  y=(
    array(shape=(1, 3), dtype=float32, min=1, median=2, max=6),
    None))"""
    assert pretty_repr(data) == expected


def test_arrays():
    assert pretty_repr(np.array([1.23456, 1000])) == "array(shape=(2,), dtype=float64, min=1.23, median=501, max=1e+03)"
    assert pretty_repr(np.float32(0.5)) == "array(shape=(), dtype=float32, min=0.5, median=0.5, max=0.5)"
    assert pretty_repr(np.array([True])) == "array(shape=(1,), dtype=bool, min=1, median=1, max=1)"
    assert pretty_repr(jnp.ones(2, jnp.bfloat16)) == "array(shape=(2,), dtype=bfloat16, min=1, median=1, max=1)"
    assert pretty_repr(np.ones(0)) == "array(shape=(0,), dtype=float64)"
    assert pretty_repr(np.array(["a"])) == "array(shape=(1,), dtype=<U1)"
    assert pretty_repr(jax.random.key(0)) == "array(shape=(), dtype=key<fry>)"


def test_tracers():
    seen = []
    jax.jit(lambda x: seen.append(pretty_repr(x)))(jnp.ones(2))
    assert seen == ["array(shape=(2,), dtype=float32)"]


def test_other_mappings():
    assert pretty_repr(collections.OrderedDict(a=1)) == "OrderedDict({\n  'a': 1})"


def test_print(capsys):
    pretty_print([1])
    assert capsys.readouterr().out == "[\n  1]\n"
    assert "pandas" not in sys.modules
