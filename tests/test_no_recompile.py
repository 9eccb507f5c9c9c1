"""What was compiled once is not compiled again.

Compilations are counted by the events that jax reports; one that the persistent cache answers counts too.
"""

import gc
import weakref
from types import SimpleNamespace

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
import coax.td_learning
from coax.reward_tracing import TransitionBatch
from tests.compilations import compilations

ENV = SimpleNamespace(
    observation_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32), action_space=gymnasium.spaces.Discrete(2)
)
TABLE = SimpleNamespace(
    observation_space=gymnasium.spaces.Discrete(5, start=1), action_space=gymnasium.spaces.Discrete(2)
)

OPTIMIZER = optax.adam(0.01)


def func_q(S, is_training):
    return hk.Linear(2)(S)


def func_q1(S, A, is_training):
    return jnp.ravel(hk.Linear(1)(jnp.concatenate([S, A], axis=-1)))


def func_v(S, is_training):
    return jnp.ravel(hk.Linear(1)(S))


pytestmark = pytest.mark.usefixtures("caches_are_on")


def observation(i, *lead):
    return np.random.default_rng(i).uniform(-1, 1, (*lead, 3)).astype(np.float32)


def batch(i, size=4):
    rng = np.random.default_rng(i)
    A, A_next = rng.integers(2, size=(2, size))
    logP, Rn, In = rng.random((3, size), np.float32)
    return TransitionBatch(observation(i, size), A, logP, Rn, In, observation(i + 1, size), A_next, logP)


def make(optimizer, func=func_q, env=ENV):
    """Each kind of object there is."""
    q, v = coax.Q(func, env, random_seed=1), coax.V(func_v, env, random_seed=2)
    q_targ, pi = q.copy(), coax.EpsilonGreedy(q, epsilon=0.1)
    td = coax.td_learning
    boltzmann = coax.BoltzmannPolicy(q, temperature=0.1)
    return SimpleNamespace(
        q=q,
        q1=coax.Q(func_q1, env, random_seed=1),
        v=v,
        q_targ=q_targ,
        pi=pi,
        boltzmann=boltzmann,
        qlearning=td.QLearning(q, q_targ=q_targ, optimizer=optimizer),
        sarsa=td.Sarsa(q, optimizer=optimizer),
        expected_sarsa=td.ExpectedSarsa(q, boltzmann, optimizer=optimizer),
        double_qlearning=td.DoubleQLearning(q, q_targ=q_targ, optimizer=optimizer),
        soft_qlearning=td.SoftQLearning(q, q_targ=q_targ, optimizer=optimizer),
        simple_td=td.SimpleTD(v, optimizer=optimizer),
    )


UPDATERS = ("qlearning", "sarsa", "expected_sarsa", "double_qlearning", "soft_qlearning", "simple_td")


def learn_lifted(o):
    def learn(tb):
        metrics = o.qlearning.update(tb)
        o.q_targ.soft_update(o.q, tau=0.1)
        return metrics

    lifted = coax.jit(learn, over=(o.qlearning, o.q_targ))
    return lambda i: lifted(batch(i))


def scan_lifted(o):
    def turn(s):
        return o.pi(s)

    return lambda i: coax.scan(turn, xs=observation(i, 6), over=o.pi)


def apply_grads(o):
    def call(i):
        grads, function_state, _, _ = o.qlearning.grads_and_metrics(batch(i))
        o.qlearning.apply_grads(grads, function_state)

    return call


def set_numbers(o):
    def call(i):
        o.pi.epsilon, o.boltzmann.temperature, o.soft_qlearning.temperature = 0.1 * i, i, np.float32(i)
        o.pi(observation(i)), o.boltzmann(observation(i)), o.soft_qlearning.update(batch(i))

    return call


# from the objects to a function of the number of the call
CALLS = {
    "q(s)": lambda o: lambda i: o.q(observation(i)),
    "q(s, a)": lambda o: lambda i: o.q(observation(i), i % 2),
    "q(S)": lambda o: lambda i: o.q(observation(i, 2, 3)),
    "q1(s)": lambda o: lambda i: o.q1(observation(i)),
    "q1(s, a)": lambda o: lambda i: o.q1(observation(i), i % 2),
    "v(s)": lambda o: lambda i: o.v(observation(i)),
    "q.copy()": lambda o: lambda i: o.q.copy()(observation(i)),
    "q.copy(deep=True)": lambda o: lambda i: o.q.copy(deep=True)(observation(i)),
    "q.soft_update": lambda o: lambda i: o.q_targ.soft_update(o.q, tau=0.1 * i),
    "q.params": lambda o: lambda i: setattr(o.q, "params", o.q_targ.params),
    "metrics": lambda o: lambda i: dict(o.qlearning.update(batch(i))),
    "apply_grads": apply_grads,
    "coax.jit": learn_lifted,
    "coax.scan": scan_lifted,
    "numbers": set_numbers,
    **{f"pi(s), {pi}": lambda o, pi=pi: lambda i: getattr(o, pi)(observation(i)) for pi in ("pi", "boltzmann")},
    "pi(S)": lambda o: lambda i: o.pi(observation(i, 2)),
    "pi(s, return_logp=True)": lambda o: lambda i: o.pi(observation(i), return_logp=True),
    "pi.mode": lambda o: lambda i: o.pi.mode(observation(i)),
    "pi.dist_params": lambda o: lambda i: o.pi.dist_params(observation(i)),
    **{f"{name}.update": lambda o, name=name: lambda i: getattr(o, name).update(batch(i)) for name in UPDATERS},
    **{f"{name}.td_error": lambda o, name=name: lambda i: getattr(o, name).td_error(batch(i)) for name in UPDATERS},
    "update, with errors": lambda o: lambda i: o.qlearning.update(batch(i), return_td_error=True, wait=True),
}


# programs of coax.jit and coax.scan belong to the function that they were made of
NAMED = [call for name, call in CALLS.items() if name not in ("coax.jit", "coax.scan")]


@pytest.fixture(scope="module")
def objects():
    return make(OPTIMIZER)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing(name, objects):
    call = CALLS[name](objects)
    call(1)
    call(2)  # what the first call left is on the device now
    with compilations() as found:
        call(3)
        call(4)
    assert found == []


def test_the_first_call_compiles_one_program():
    def func(S, is_training):
        return hk.Linear(2)(S)

    o = make(OPTIMIZER, func)
    for call in (
        lambda: o.q(observation(1)),
        lambda: o.pi(observation(1)),
        lambda: o.qlearning.update(batch(1)),
    ):
        with compilations() as found:
            call()
        assert len(found) == 1


def test_what_is_compiled_has_a_name():
    o = make(optax.adam(0.01))

    def learn(batch):
        return o.qlearning.update(batch)["QLearning/loss"]

    def turn(size):
        return learn(batch(1))

    for call, name in (
        (lambda: o.qlearning.update(batch(1)), "QLearning.update"),
        (lambda: coax.jit(learn, over=o.qlearning)(batch(1)), "learn"),
        (lambda: coax.scan(turn, over=o.qlearning, xs=jnp.arange(3)), "turn"),
    ):
        with compilations() as found:
            call()
        assert f"jit({name})" in found or f"jit_{name}" in found or name in found


def test_the_integer_type_of_an_observation_does_not_matter():
    q = coax.Q(func_q, TABLE, random_seed=1)
    pi = coax.EpsilonGreedy(q)
    q(1), q(1, 0), pi(1), pi.mode(1)
    with compilations() as found:
        for s in (2, np.int64(3), np.int32(4), np.uint8(5), np.array(2), np.array(2, np.int16)):
            q(s), q(s, np.int64(1)), pi(s), pi.mode(s)
    assert found == []


def test_lists_and_double_precision_are_like_arrays():
    q = coax.Q(func_q, ENV, random_seed=1)
    q(observation(1))
    with compilations() as found:
        q([0.1, 0.2, 0.3])
        q(np.array([0.1, 0.2, 0.3]))
    assert found == []


def test_a_second_construction_compiles_nothing(objects):
    for call in NAMED:
        call(objects)(1)
    equal_spaces = SimpleNamespace(
        observation_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32), action_space=gymnasium.spaces.Discrete(2)
    )
    with compilations() as found:
        second = make(OPTIMIZER, env=equal_spaces)
        for call in NAMED:
            call(second)(1)
    assert found == []
    assert second.q.rule is objects.q.rule
    assert second.qlearning.rule is objects.qlearning.rule


def test_a_target_network_compiles_nothing(objects):
    o = objects
    o.q(observation(1)), o.q(observation(1), 0), o.pi(observation(1)), o.boltzmann(observation(1))
    with compilations() as found:
        copy = o.q.copy()
        copy(observation(2)), copy(observation(2), 1), coax.EpsilonGreedy(copy)(observation(1))
        o.pi.copy()(observation(1)), o.boltzmann.copy(deep=True)(observation(1))
    assert found == []


@pytest.mark.gate
def test_dropping_every_object_frees_the_rules():
    def func(S, is_training):
        return hk.Linear(2)(S)

    o = make(OPTIMIZER, func)
    for name in ("q(s)", "pi(s), pi", "qlearning.update", "coax.jit", "coax.scan"):
        CALLS[name](o)(1)
    rules = [weakref.ref(x.rule) for x in (o.q, o.pi, o.qlearning, o.soft_qlearning)]
    forward = weakref.ref(func)
    del o, func
    for _ in range(3):  # what jax keeps by weak references goes one round later
        gc.collect()
    assert [rule() for rule in rules] == [None] * 4
    assert forward() is None


def test_a_function_that_has_changed_is_not_the_same():
    """A global that the function reads, a constant, or an attribute of the object it belongs to."""

    class Agent:
        width = 4

        def func(self, S, is_training):
            return hk.nets.MLP([self.width, 2])(S) * settings["scale"]

    settings, agent = {"scale": 1.0}, Agent()
    first = coax.Q(agent.func, ENV, random_seed=0)
    assert coax.Q(agent.func, ENV, random_seed=0).rule is first.rule
    s = observation(1)
    value = first(s)
    settings["scale"] = 2.0
    second = coax.Q(agent.func, ENV, random_seed=0)
    np.testing.assert_allclose(second(s), 2 * value, rtol=1e-6)
    np.testing.assert_array_equal(first(s), value)
    assert coax.Q(agent.func, ENV, random_seed=0).rule is second.rule
    agent.width = 8
    third = coax.Q(agent.func, ENV, random_seed=0)
    assert third.params["mlp/~/linear_0"]["w"].shape == (3, 8)
    assert first.params["mlp/~/linear_0"]["w"].shape == (3, 4)
