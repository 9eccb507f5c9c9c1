import jax
import jax.numpy as jnp
import pytest

from coax.utils import _trees, get_grads_diagnostics, get_magnitude_quantiles

TREE = {"a": jnp.array([[3.0, -4.0]]), "b": jnp.array(-12.0)}


@pytest.mark.parametrize("few", [100, 0], ids=["few numbers", "many numbers"])
@pytest.mark.parametrize("how", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_grads(how, few, monkeypatch):
    monkeypatch.setattr(_trees, "_FEW_NUMBERS", few)
    out = how(get_grads_diagnostics)(TREE)
    # sqrt(9 + 16 + 144) = 13
    assert {k: float(v) for k, v in out.items()} == {"max": 12, "norm": 13}


def test_grads_of_each_leaf():
    out = get_grads_diagnostics(TREE, key_prefix="q/", keep_tree_structure=True)
    assert jax.tree.map(float, out) == {"a": {"q/max": 4, "q/norm": 5}, "b": {"q/max": 12, "q/norm": 12}}


@pytest.mark.parametrize("how", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_quantiles(how):
    # absolute values 0, 1, 2, 3, 8: the quartiles are these five
    out = how(lambda tree: get_magnitude_quantiles(tree, "p/"))([jnp.array([-3.0, 1.0]), jnp.array([[0.0, -8.0, 2.0]])])
    assert jax.tree.map(float, out) == {"p/min": 0, "p/p25": 1, "p/p50": 2, "p/p75": 3, "p/max": 8}
