import gymnasium
import pytest

from coax.utils import get_env_attr, has_env_attr


class Outer:
    def __init__(self, env):
        self.env, self.name = env, "outer"


class Inner:
    name, depth = "inner", 3


def test_outside_in():
    env = Outer(Outer(Inner()))
    assert get_env_attr(env, "name") == "outer"
    assert get_env_attr(env, "depth") == 3
    assert has_env_attr(env, "depth")
    assert not has_env_attr(env, "other")
    assert get_env_attr(env, "other", default=None) is None


def test_max_depth_counts_wrappers():
    env = Outer(Outer(Inner()))
    assert has_env_attr(env, "depth", max_depth=2)
    assert not has_env_attr(env, "depth", max_depth=1)


def test_a_value_of_none_is_found():
    env = Outer(Inner())
    env.env.nothing = None
    assert has_env_attr(env, "nothing")
    assert get_env_attr(env, "nothing", default=1) is None


def test_missing():
    with pytest.raises(AttributeError, match=r"expected an attribute 'other' on .* Fix: "):
        get_env_attr(Inner(), "other")


def test_gymnasium_wrappers():
    env = gymnasium.make("CartPole-v1")
    assert get_env_attr(env, "force_mag") == 10.0
    env.close()
