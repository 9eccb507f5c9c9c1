import pytest

from coax import typing as ct
from coax import utils

ROLES = {
    "is_vfunction": ct.AbstractV,
    "is_qfunction": ct.AbstractQ,
    "is_policy": ct.AbstractPolicy,
    "is_stochastic": ct.AbstractStochastic,
    "is_transition_model": ct.AbstractTransitionModel,
    "is_reward_function": ct.AbstractRewardFunction,
}


@pytest.mark.parametrize("predicate", ROLES)
@pytest.mark.parametrize("role", ROLES.values())
def test_each_role_has_its_predicate(predicate, role):
    final = type("Final", (role,), {})
    assert getattr(utils, predicate)(final()) is (ROLES[predicate] is role)
    assert not getattr(utils, predicate)(object())


def test_roles_combine():
    both = type("StochasticQ", (ct.AbstractQ, ct.AbstractStochastic), {})()
    assert [name for name in ROLES if getattr(utils, name)(both)] == ["is_qfunction", "is_stochastic"]
