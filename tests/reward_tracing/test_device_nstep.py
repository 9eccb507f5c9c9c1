"""The n-step window that rolls inside a compiled loop: by hand, and against the tracer of the Python loop."""

import copy
import pickle
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import coax
from coax.errors import StateError
from coax.reward_tracing import DeviceNStep, LambdaReturn, MonteCarlo, NStep, Rollout, check_batch, n_step_transitions
from coax.wrappers import LastObservation
from tests.compilations import compilations
from tests.envs.schedule import LIMIT, Make, act

from .streams import FIELDS, assert_same_rows, rollouts, traced

BOX = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
SINGLE = SimpleNamespace(observation_space=gymnasium.spaces.Discrete(99), action_space=gymnasium.spaces.Discrete(9))


class Two(gymnasium.vector.VectorEnv):
    """Two environments that are never stepped."""

    num_envs = 2
    single_observation_space = BOX
    single_action_space = gymnasium.spaces.Discrete(9)


class Lakes(Two):
    single_observation_space = gymnasium.spaces.Discrete(99)


# --- by hand

# Rewards 1, 2, 4 in states 10, 20, 30, then state 40; a new episode with 8, 16 in 50, 60, then 70. gamma 1/2.
STEPS = [(10, 1, 1.0, 20), (20, 2, 2.0, 30), (30, 3, 4.0, 40), (50, 4, 8.0, 60), (60, 5, 16.0, 70)]
BY_HAND = {
    ("terminated", 1): [(10, 1, 0.5, 20), (20, 2, 0.5, 30), (30, 4, 0, 40), (50, 8, 0.5, 60), (60, 16, 0.5, 70)],
    # 1 + 2/2 ; 2 + 4/2 ; 4 ; 8 + 16/2
    ("terminated", 2): [None, (10, 2, 0.25, 30), (20, 4, 0, 40), (30, 4, 0, 40), (50, 16, 0.25, 70)],
    # 1 + 2/2 + 4/4
    ("terminated", 3): [None, None, (10, 3, 0, 40), (20, 4, 0, 40), (30, 4, 0, 40)],
    ("truncated", 1): [(10, 1, 0.5, 20), (20, 2, 0.5, 30), (30, 4, 0.5, 40), (50, 8, 0.5, 60), (60, 16, 0.5, 70)],
    ("truncated", 2): [None, (10, 2, 0.25, 30), (20, 4, 0.25, 40), (30, 4, 0.5, 40), (50, 16, 0.25, 70)],
    ("truncated", 4): [None, None, None, (10, 3, 0.125, 40), (20, 4, 0.25, 40)],
    ("both", 2): [None, (10, 2, 0.25, 30), (20, 4, 0, 40), (30, 4, 0, 40), (50, 16, 0.25, 70)],
}


@pytest.mark.parametrize(("end", "n"), BY_HAND)
def test_by_hand(end, n):
    tracer = DeviceNStep(n, 0.5, SINGLE)
    for i, ((s, a, r, s_next), want) in enumerate(zip(STEPS, BY_HAND[end, n], strict=True)):
        done, truncated = i == 2 and end != "truncated", i == 2 and end != "terminated"
        batch, mask = tracer.add(s, a, r, done, -a, 10 + a, truncated=truncated, s_next=s_next)
        check_batch(batch)
        assert (mask.shape, mask.tolist(), batch.idx.tolist()) == ((1,), [want is not None], [0])
        assert (batch.A_next, batch.logP_next, batch.extra_info) == (None, None, None)
        if want is None:
            assert (batch.Rn, batch.In, batch.W) == (0, 0, 0)
            continue
        s0, rn, in_, end_state = want
        a0 = next(a for s, a, _, _ in STEPS if s == s0)
        got = (batch.S, batch.A, batch.logP, batch.Rn, batch.In, batch.S_next, batch.W)
        assert [x.item() for x in got] == [s0, a0, -a0, rn, in_, end_state, 10 + a0]


def test_what_is_no_step_does_not_enter():
    tracer = DeviceNStep(2, 0.5, Lakes())
    found = []
    for t, mask in enumerate([(True, True), (False, True), (True, False), (True, True)]):
        r = [1.0 + t if there else np.nan for there in mask]
        batch, there = tracer.add([t, t + 50], [0, 1], r, [not m for m in mask], s_next=[t + 1, t + 51], mask=mask)
        rows = zip(there.tolist(), batch.S.tolist(), batch.Rn.tolist(), batch.S_next.tolist(), strict=True)
        found += [row[1:] for row in rows if row[0]]
        assert not np.isnan([batch.Rn, batch.In, batch.W]).any()
    # of the first there are steps 0, 2, 3 with rewards 1, 3, 4; of the second steps 0, 1, 3 with rewards 1, 2, 4
    assert found == [(50, 2, 52), (0, 2.5, 3), (2, 5, 4), (51, 4, 54)]


@pytest.mark.parametrize("compiled", [False, True])
def test_episodes_that_are_left_before_their_end(compiled):
    tracer = DeviceNStep(2, 0.5, Lakes())

    def add(t):
        batch, there = tracer.add([t, t + 50], [0, 1], [1.0 + t] * 2, [False] * 2, s_next=[t + 1, t + 51])
        return [row[1:] for row in zip(there.tolist(), batch.S.tolist(), batch.Rn.tolist(), strict=True) if row[0]]

    forget = coax.jit(tracer.reset, over=tracer) if compiled else tracer.reset
    found = add(0) + add(1)
    forget(np.array([True, False]))
    found += add(2) + add(3)
    # of the first the window of step 1 is left out; all others are r + r'/2
    assert found == [(0, 2), (50, 2), (51, 3.5), (2, 5), (52, 5)]


# --- against the tracer of the Python loop

T = 32  # one compiled loop for all streams
TRACERS = {n: DeviceNStep(n, 0.9, Two(), next_action=True) for n in (1, 2, 5)}


def looped(tracer):
    def step(x):
        return tracer.add(
            x["s"],
            x["a"],
            x["r"],
            x["done"],
            x["logp"],
            x["w"],
            truncated=x["truncated"],
            s_next=x["s_next"],
            a_next=x["a_next"],
            logp_next=x["logp_next"],
            mask=x["mask"],
        )

    return step


LOOPS = {n: looped(tracer) for n, tracer in TRACERS.items()}


def columns(drawn):
    """What a loop adds, [T, 2]; and the steps of each environment, with the next action where it is known."""
    rollout, w, steps = drawn
    S, A, logP, R, terminated, truncated, S_next, mask = rollout
    a_next, logp_next = np.zeros((T, 2), int), np.full((T, 2), np.nan)
    for e, column in enumerate(steps):
        (times,) = np.nonzero(mask[:, e])
        for t, step, following in zip(times, column, [*column[1:], None], strict=True):
            if "a_next" not in step and following and not (step["done"] or step["truncated"]):
                step |= {"a_next": following["a"], "logp_next": following["logp"]}
            step.setdefault("a_next", 0), step.setdefault("logp_next", np.nan)
            a_next[t, e], logp_next[t, e] = step["a_next"], step["logp_next"]
    names = ("s", "a", "logp", "r", "done", "truncated", "s_next", "mask")
    arrays = dict(zip(names, (S, A, logP, R, terminated, truncated, S_next, mask), strict=True))
    return arrays | {"w": w, "a_next": a_next, "logp_next": logp_next}, steps


def flat(batch):
    """The rows of a loop [T, E, ...] as one batch."""
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch)


@settings(max_examples=50)
@given(rollouts(T), st.sampled_from([1, 2, 5]))
def test_as_traced(drawn, n):
    added, steps = columns(drawn)
    tracer = TRACERS[n]
    tracer.reset()
    batch, mask = coax.scan(LOOPS[n], over=tracer, xs=added)
    compare(flat(batch), np.asarray(mask), steps, n)


def compare(batch, mask, steps, n):
    for e, column in enumerate(steps):
        rows = mask & (np.arange(2) == e)
        assert rows.sum() == max(0, len(column) - (n - 1))
        assert_same_rows(batch, rows.ravel(), traced(NStep(n, 0.9), column), FIELDS)
    assert not np.any([batch.W[~mask.ravel()], batch.Rn[~mask.ravel()], batch.In[~mask.ravel()]])


def some_columns():
    """Two environments with NEXT_STEP rows, fixed."""
    rng = np.random.default_rng(3)
    ends = rng.integers(5, size=(T, 2))
    over = ends < 2
    mask = ~np.concatenate([np.zeros((1, 2), bool), over[:-1]])
    ends, over = np.where(mask, ends, 4), over & mask
    mask = ~np.concatenate([np.zeros((1, 2), bool), over[:-1]])
    S, S_next = rng.normal(size=(2, T, 2, 2)).astype(np.float32)
    numbers = dict(zip(("r", "logp", "w", "logp_next"), rng.normal(size=(4, T, 2)).astype(np.float32), strict=True))
    actions = dict(zip(("a", "a_next"), rng.integers(9, size=(2, T, 2)), strict=True))
    flags = {"done": ends == 0, "truncated": ends == 1, "mask": mask}
    return {"s": S, "s_next": S_next, **numbers, **actions, **flags}


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.gate
def test_all_gears_agree(n):
    xs = some_columns()
    tracer, step = TRACERS[n], LOOPS[n]
    tracer.reset()
    want = jax.tree.map(np.asarray, coax.scan(step, over=tracer, xs=xs))
    state = tracer.state
    assert want[1].sum() > T

    def stacked(one):
        tracer.reset()
        rows = [one(jax.tree.map(lambda x, t=t: x[t], xs)) for t in range(T)]
        return jax.tree.map(lambda *x: np.stack(x), *rows)

    assert_close(stacked(step), want)
    assert_close(tracer.state, state)
    assert_close(stacked(coax.jit(step, over=tracer)), want)
    assert_close(tracer.state, state)

    # of two seeds the second sees the same
    init, apply = coax.transform(lambda xs: coax.scan(step, over=tracer, xs=xs), over=tracer)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0)))
    two = jax.tree.map(lambda x: np.stack([x[::-1], x]), xs)
    out, states = jax.vmap(apply)(states, two)
    assert_close(jax.tree.map(lambda x: x[1], out), want)
    assert_close(jax.tree.map(lambda x: x[1], states[tracer]), state)


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6), got, want)


@pytest.mark.parametrize("kind", ["box", "dict", "tuple"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_in_the_loop_of_several_environments(mode, kind):
    env = LastObservation(SyncVectorEnv([Make(number, kind) for number in range(3)], autoreset_mode=mode))
    n, gamma = 3, 0.9
    device, host, steps = DeviceNStep(n, gamma, env), NStep(n, gamma, num_envs=3), []
    env.reset(seed=0)
    found, want = [], []
    for _ in range(4 * LIMIT):
        A, logP = act(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        steps.append(Rollout(S, A, logP, R, terminated, truncated, S_next, mask))
        found += rows(*device.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask))
        host.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
        if host:
            want += rows(host.flush())
    env.close()
    batch = n_step_transitions(jax.tree.map(lambda *x: np.stack(x), *steps), n, gamma)
    whole = rows(batch, batch.W > 0)
    assert len(set(whole)) == len(whole) > 2 * 3 * LIMIT
    # the windows of the last steps of each environment: both wait for more
    assert len(found) == len(whole) - 3 * (n - 1)
    assert len(want) >= len(whole) - 3 * n
    assert set(want) <= set(whole) >= set(found)


def rows(batch, mask=None):
    """Each transition as something hashable."""
    leaves = jax.tree.leaves((batch.S, batch.A, batch.logP, batch.Rn, batch.In, batch.S_next, batch.W))
    leaves = [np.asarray(x, float).round(3) + 0.0 for x in leaves]
    there = range(batch.batch_size) if mask is None else np.flatnonzero(mask)
    return [tuple(x[i].tobytes() for x in leaves) for i in there]


# --- gamma, the state, copies


def test_gamma_may_be_set_at_any_time():
    tracer = DeviceNStep(2, 0.5, SINGLE)
    tracer.add(10, 1, 1.0, False, s_next=20)
    tracer.gamma = 0.25
    batch, _ = tracer.add(20, 2, 2.0, False, s_next=30)
    assert (tracer.gamma, batch.Rn, batch.In) == (0.25, 1.5, 0.0625)  # 1 + 2/4
    tracer.gamma = 0
    batch, mask = tracer.add(30, 3, 4.0, False, s_next=40)
    assert (batch.Rn, batch.In, mask) == (2, 0, True)


@pytest.mark.parametrize("n", [1, 2])
def test_gamma_of_each_seed(n):
    tracer = DeviceNStep(n, 0.5, SINGLE)
    x = jnp.arange(3)
    init, apply = coax.transform(
        lambda: coax.scan(lambda s: tracer.add(s, s, 1.0, False, s_next=s + 1)[0], over=tracer, xs=x), over=tracer
    )
    gammas = np.array([0.5, 0.25], np.float32)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0)))
    batch, _ = jax.vmap(apply)(states.replace({tracer: {**states[tracer], "gamma": gammas}}))
    np.testing.assert_allclose(batch.In[:, 2, 0], gammas**n)
    np.testing.assert_allclose(batch.Rn[:, 2, 0], 1 + gammas if n == 2 else 1)


def test_nothing_is_remembered_of_single_steps():
    assert list(DeviceNStep(1, 0.9, Two()).state) == ["gamma"]
    state = DeviceNStep(3, 0.9, Two(), next_action=True).state
    assert {name: x.shape for name, x in state["steps"].items() if name in ("s", "a", "r", "logp_next")} == {
        "s": (2, 2, 2),
        "a": (2, 2),
        "r": (2, 2),
        "logp_next": (2, 2),
    }
    assert state["count"].tolist() == [0, 0]


def filled():
    tracer = DeviceNStep(2, 0.5, SINGLE)
    tracer.add(10, 1, 1.0, False, s_next=20)
    return tracer


def then(tracer):
    batch, mask = tracer.add(20, 2, 2.0, False, s_next=30)
    return mask.item(), batch.S.item(), batch.Rn.item()


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda tracer: tracer.copy(), lambda tracer: pickle.loads(pickle.dumps(tracer))],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin):
    tracer = filled()
    other = twin(tracer)
    assert other.rule is tracer.rule
    assert then(tracer) == (True, 10, 2)
    assert then(other) == (True, 10, 2)


def test_restored_and_forgotten():
    tracer, other = filled(), DeviceNStep(2, 0.9, SINGLE)
    other.state = tracer.state
    assert (then(other), other.gamma) == ((True, 10, 2), 0.5)
    other.reset()
    assert then(other) == (False, 0, 0)
    assert then(other) == (True, 20, 3)
    other.state = other.init(jax.random.key(0))
    assert (then(other)[0], other.gamma) == (False, 0.5)
    with pytest.raises(
        TypeError, match=r"DeviceNStep\.state\['steps'\]\['a'\]: expected int32\[1, 1\], got int32\[2, 1\]"
    ):
        tracer.state = DeviceNStep(3, 0.9, SINGLE).state


def test_forgotten_in_a_compiled_loop():
    tracer = filled()
    coax.jit(tracer.reset, over=tracer)()
    assert then(tracer)[0] is False


def test_what_it_was_made_for():
    tracer = DeviceNStep(2, 0.5, Two(), next_action=True)
    assert (tracer.n, tracer.num_envs, tracer.next_action) == (2, 2, True)
    assert DeviceNStep(2, 0.5, SINGLE).num_envs is None
    assert tracer.rule is DeviceNStep(2, 0.9, Two()).rule
    with pytest.raises(AttributeError, match=r"DeviceNStep\.n is fixed at construction.*Fix: make a new tracer"):
        tracer.n = 3


@pytest.mark.usefixtures("caches_are_on")
def test_one_dispatch_that_is_compiled_once():
    tracer = filled()
    then(tracer)
    with compilations() as found:
        tracer.gamma = 0.1
        tracer.reset()
        then(tracer), then(filled())
        tracer.add(np.int64(3), np.array(4), np.float64(1), np.bool_(True), -1, 2, truncated=np.bool_(True), s_next=5)
    assert found == []


def test_precision():
    with jax.enable_x64(True):
        tracer = DeviceNStep(2, 0.1, Two())
        one = {"s": np.ones((2, 2)), "a": np.ones(2, int), "r": np.full(2, 0.1), "done": np.zeros(2, bool)}
        for _ in range(2):
            batch, mask = tracer.add(**one, s_next=np.ones((2, 2)))
        assert mask.all()
        assert {x.dtype for x in (batch.logP, batch.Rn, batch.In, batch.W)} == {np.dtype(float)}
        assert (batch.S.dtype, batch.A.dtype) == (np.float32, np.int64)
        np.testing.assert_allclose(batch.Rn, 0.11, rtol=1e-12)


def test_inputs_of_any_kind():
    tracer = DeviceNStep(1, 0.5, Two())
    want, _ = tracer.add(np.ones((2, 2), np.float32), np.array([1, 2]), np.array([1.0, 2.0]), np.array([True, False]),
                         s_next=np.zeros((2, 2), np.float32))  # fmt: skip
    got, _ = tracer.add([[1, 1], [1, 1]], [1, 2], [1, 2], [1, 0], np.zeros(2), np.ones(2),
                        truncated=jnp.zeros(2, bool), s_next=jnp.zeros((2, 2), int), mask=[True, True])  # fmt: skip
    assert got == want
    assert [x.dtype for x in jax.tree.leaves(got)] == [x.dtype for x in jax.tree.leaves(want)]
    assert want.In.tolist() == [0, 0.5]


# --- errors


def step_of_two(**changes):
    return {
        "s": np.zeros((2, 2), np.float32),
        "a": np.zeros(2, int),
        "r": np.zeros(2),
        "done": np.zeros(2, bool),
        "s_next": np.zeros((2, 2), np.float32),
    } | changes


WRONG = [
    (
        {"s": np.zeros(2)},
        ValueError,
        r"s: expected one for each of 2 environments, got the leading axes \[\]\. Fix: pass what the vector",
    ),
    ({"s": np.zeros((2, 3))}, ValueError, r"s: expected shape \[\.\.\., 2\], got shape \(2, 3\)"),
    ({"s_next": np.zeros((3, 2))}, ValueError, r"s_next: expected one for each of 2 environments, .* \[3\]"),
    ({"a": 0}, ValueError, r"a: expected one for each of 2 environments, got the leading axes \[\]"),
    ({"a": np.array([0, 9])}, ValueError, r"a: expected elements of Discrete\(9\)"),
    ({"r": 0.0}, ValueError, r"r: expected one for each of 2 environments"),
    ({"r": np.zeros((2, 1))}, ValueError, r"r: expected one for each .* \[2, 1\]"),
    ({"r": [None, None]}, TypeError, r"r: expected numbers, got object"),
    ({"done": False}, ValueError, r"done: expected one for each of 2 environments"),
    ({"done": np.zeros(2)}, TypeError, r"done: expected bools, got float64"),
    ({"truncated": np.zeros(2)}, TypeError, r"truncated: expected bools, got float64"),
    ({"truncated": True}, ValueError, r"truncated: expected one for each of 2"),
    ({"mask": np.zeros(1, bool)}, ValueError, r"mask: expected one for each of 2"),
    ({"mask": np.array([1.0, np.nan])}, TypeError, r"mask: expected bools, got float64"),
    ({"logp": np.zeros(2, bool)}, TypeError, r"logp: expected a number, got a bool\. Fix: pass truncated= by name"),
    ({"logp": -1.0}, ValueError, r"logp: expected one for each of 2"),
    ({"w": np.ones(3)}, ValueError, r"w: expected one for each of 2"),
    (
        {"a_next": np.zeros(2, int)},
        ValueError,
        r"a_next: this tracer takes no next action\. Fix: DeviceNStep\(\.\.\., next_",
    ),
    ({"logp_next": np.zeros(2)}, ValueError, r"logp_next: this tracer takes no next action"),
]


@pytest.mark.parametrize(("changes", "error", "text"), WRONG)
def test_after_an_error_nothing_is_added(changes, error, text):
    tracer = DeviceNStep(2, 0.5, Two())
    with pytest.raises(error, match=text):
        tracer.add(**step_of_two(**changes))
    assert tracer.state["count"].tolist() == [0, 0]


def test_the_next_action_is_missing():
    tracer = DeviceNStep(2, 0.5, Two(), next_action=True)
    with pytest.raises(ValueError, match=r"a_next: expected the action in s_next, .* got None\. Fix: .* logp_next=nan"):
        tracer.add(**step_of_two())


@pytest.mark.parametrize("logp", [False, True])
def test_a_flag_in_the_place_of_a_propensity(logp):
    with pytest.raises(TypeError, match=r"logp: expected a number, got a bool"):
        DeviceNStep(1, 0.5, SINGLE).add(0, 0, 1.0, False, logp, s_next=1)


def test_several_environments_in_a_tracer_of_one():
    with pytest.raises(
        ValueError, match=r"s: expected one of one environment, got .* \[2\]\. Fix: .* with the vector env"
    ):
        DeviceNStep(1, 0.5, SINGLE).add([1, 2], 0, 1.0, False, s_next=1)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((0, 0.5, SINGLE), ValueError, r"n: expected at least 1, got 0"),
        ((1.0, 0.5, SINGLE), TypeError, r"n: expected an integer, got 1\.0"),
        ((1, 1.5, SINGLE), ValueError, r"DeviceNStep\.gamma: expected a number in \[0, 1\], got 1\.5"),
        ((1, "a", SINGLE), TypeError, r"DeviceNStep\.gamma: expected a number"),
        ((1, 0.5, None), TypeError, r"DeviceNStep: expected an environment, got NoneType\. Fix: pass env="),
        ((1, 0.5, 4), TypeError, r"DeviceNStep: expected an environment, got int"),
    ],
)
def test_what_it_cannot_be_made_of(args, error, text):
    with pytest.raises(error, match=text):
        DeviceNStep(*args)


@pytest.mark.parametrize(
    ("host", "instead"),
    [
        (NStep(1, 0.9), r"DeviceNStep in an off-policy loop, or n_step_transitions over"),
        (MonteCarlo(0.9), r"monte_carlo_transitions over"),
        (LambdaReturn(None, 0.9, 0.9, np.ravel), r"lambda_transitions over"),
    ],
)
def test_what_the_tracers_of_the_host_say(host, instead):
    with pytest.raises(StateError, match=rf"{type(host).__name__}\.add lives in host memory .* coax\.\w+\.{instead}"):
        coax.jit(lambda: host.add(0, 0, 0.0, False), over=())()
