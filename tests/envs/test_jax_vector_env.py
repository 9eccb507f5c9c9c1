"""Episodes whose length is drawn by chance and shown in the observation, so that all that follows is known."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

import coax
from coax.envs import FunctionalEnv, JaxVectorEnv, Outcome
from coax.errors import StateError
from coax.wrappers import TrainMonitor
from tests.compilations import compilations

N, LIMIT = 4, 5


class Drawn(FunctionalEnv):
    """Episodes of 1 to 9 steps, which terminate; a time limit cuts the longer ones off."""

    observation_space = Box(0, 1000, (2,), np.float32)
    action_space = Discrete(3, start=1)
    max_episode_steps = LIMIT

    def reset(self, key):
        state = {"length": jax.random.randint(key, (), 1, 10), "t": 0}
        return state, self.observe(state)

    def observe(self, state):
        return jnp.stack([state["length"], state["t"]])

    def step(self, state, action, key):
        state = {**state, "t": state["t"] + 1}
        reward = 10 * state["length"] + state["t"] + 100 * action
        return Outcome(state, self.observe(state), reward, state["t"] == state["length"])


class Nested(Drawn):
    """The same with observations in parts."""

    observation_space = Dict({"length": Discrete(1000), "both": Box(0, 1000, (2,), np.float32)})

    def observe(self, state):
        return {"length": state["length"], "both": super().observe(state)}


DRAWN = Drawn()  # one, so that its programs are compiled once


def make(env=DRAWN, **kwargs):
    return JaxVectorEnv(env, N, random_seed=3, **kwargs)


def actions(t):
    return 1 + (np.arange(N) + t) % 3


def check(rows, limit=LIMIT):
    """Whether rows (S, A, R, terminated, truncated, S_next), arrays [T, N, ...], are what the observations announce."""
    S, A, R, terminated, truncated, S_next = map(np.asarray, rows)
    length, t = S[..., 0], S[..., 1]
    np.testing.assert_array_equal(S_next, np.stack([length, t + 1], axis=-1))
    np.testing.assert_array_equal(R, 10 * length + t + 1 + 100 * A)
    np.testing.assert_array_equal(terminated, t + 1 == length)
    np.testing.assert_array_equal(truncated, t + 1 >= limit)
    over = (terminated | truncated)[:-1]
    np.testing.assert_array_equal(S[1:, :, 1], np.where(over, 0, t[:-1] + 1))
    np.testing.assert_array_equal(S[1:, :, 0][~over], length[:-1][~over])
    lengths = S[1:, :, 0][over]
    assert {1, 2, 3, 4, 5, 6, 7, 8, 9} == set(lengths.tolist())  # drawn anew each time
    return lengths


def rows_of(env, steps):
    rows = []
    for t in range(steps):
        row = coax.envs.transition(env, actions(t))
        assert row.mask.all()
        rows.append((row.S, actions(t), row.R, row.terminated, row.truncated, row.S_next))
    return [np.stack(x) for x in zip(*rows, strict=True)]


def test_every_row_is_true_in_a_python_loop():
    lengths = check(rows_of(make(), 200))
    # 4 environments for 200 steps of episodes of 1, 2, 3, 4, 5, 5, 5, 5, 5 steps, 35 / 9 on average: about 206
    # episodes, each length with chance 1 / 9
    counts = np.bincount(lengths.astype(int), minlength=10)[1:]
    assert abs(counts.sum() - 206) < 30
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < 20.1  # chi-square, 8 degrees of freedom, 1 %


def test_every_row_is_true_in_a_compiled_loop_and_the_same():
    env, other = make(), make()

    def step(t):
        A = 1 + (jnp.arange(N) + t) % 3
        row = coax.envs.transition(env, A)
        return row.S, A, row.R, row.terminated, row.truncated, row.S_next

    compiled = coax.scan(step, over=env, xs=jnp.arange(200))
    check(compiled)
    jax.tree.map(np.testing.assert_array_equal, list(compiled), rows_of(other, 200))
    np.testing.assert_array_equal(env.observation, other.observation)
    np.testing.assert_array_equal(env.t, other.t)


def test_five_values():
    env, reference = make(), make()
    for t in range(30):
        row = coax.envs.transition(reference, actions(t))
        S, R, terminated, truncated, info = env.step(actions(t))
        np.testing.assert_array_equal(S, reference.observation)  # the first of the next episode, where one ended
        for mine, true in ((R, row.R), (terminated, row.terminated), (truncated, row.truncated)):
            np.testing.assert_array_equal(mine, true)
        over = terminated | truncated
        assert ("final_obs" in info) == over.any()
        for i in range(N) if over.any() else ():
            assert info["_final_obs"][i] == over[i]
            assert (info["final_obs"][i] is None) == (not over[i])
            if over[i]:
                np.testing.assert_array_equal(info["final_obs"][i], row.S_next[i])
        assert env.observation_space.contains(S)
        assert (R.dtype, terminated.dtype) == (np.float32, bool)


def test_five_values_inside():
    env, reference = make(), make()

    def step(t):
        S, R, _, _, info = env.step(1 + (jnp.arange(N) + t) % 3)
        return S, R, info["final_obs"], info["_final_obs"]

    S, R, final, over = coax.scan(step, over=env, xs=jnp.arange(20))
    _, _, R_true, terminated, truncated, S_next = rows_of(reference, 20)
    np.testing.assert_array_equal(R, R_true)
    np.testing.assert_array_equal(over, terminated | truncated)
    np.testing.assert_array_equal(np.asarray(final)[over], S_next[over])
    np.testing.assert_array_equal(np.asarray(S)[~over], S_next[~over])


def test_inside_a_monitor():
    env, reference = TrainMonitor(make()), make()
    env.reset(seed=5)
    reference.reset(seed=5)
    mine, true = rows_of(env, 60), rows_of(reference, 60)
    jax.tree.map(np.testing.assert_array_equal, mine, true)
    assert env.ep == N + int((true[3] | true[4]).sum())


def test_observations_in_parts():
    env = make(Nested())
    for t in range(40):
        row = coax.envs.transition(env, actions(t))
        np.testing.assert_array_equal(row.S_next["both"][:, 1], row.S["both"][:, 1] + 1)
        np.testing.assert_array_equal(row.S["length"], row.S["both"][:, 0])
        assert env.observation_space.contains(env.observation)
    assert [row.S["length"].dtype, row.S["both"].dtype] == [np.int64, np.float32]
    *_, info = next(found for found in (env.step(actions(t)) for t in range(20)) if found[-1])
    i = int(np.argmax(info["_final_obs"]))
    assert set(info["final_obs"][i]) == {"length", "both"}


@pytest.mark.parametrize("limit", [2, None])
def test_another_limit(limit):
    assert make(max_episode_steps=limit).max_episode_steps == limit
    rows = rows_of(make(max_episode_steps=limit), 150)
    check(rows, limit or np.inf)
    assert rows[4].any() == (limit is not None)


def test_the_environment_itself_may_truncate():
    class Own(Drawn):
        def step(self, state, action, key):
            return super().step(state, action, key)._replace(truncated=state["t"] == 1)

    rows = rows_of(make(Own()), 20)
    np.testing.assert_array_equal(rows[4], rows[0][..., 1] == 1)


def test_reset():
    env = make()
    rows_of(env, 3)
    S, info = env.reset(seed=11)
    assert (S[:, 1] == 0).all()
    assert info == {}
    np.testing.assert_array_equal(make().reset(seed=11)[0], S)
    np.testing.assert_array_equal(make().reset(seed=jax.random.key(11))[0], S)
    assert (make().reset(seed=12)[0] != S).any()
    first, _ = env.reset()
    assert (first != env.reset()[0]).any()  # the stream goes on
    np.testing.assert_array_equal(make().reset(seed=np.int64(11))[0], S)
    inside = coax.jit(lambda seed: env.reset(seed=seed)[0], over=env)
    np.testing.assert_array_equal(inside(np.int32(11)), S)
    with pytest.raises(TypeError, match=r"seed: expected an integer or a key, got \[1, 2\]\. Fix: "):
        env.reset(seed=[1, 2])


def test_reset_of_some():
    env = make(max_episode_steps=None)
    env.state = {**env.state, "simulator": {"length": jnp.full(N, 100), "t": jnp.zeros(N, jnp.int32)}}
    coax.envs.transition(env, actions(0))
    before = env.observation
    rows = np.array([True, False, False, True])
    S, _ = env.reset(options={"reset_mask": rows})
    np.testing.assert_array_equal(S[~rows], before[~rows])
    assert (S[rows][:, 1] == 0).all()
    assert env.t.tolist() == [0, 1, 1, 0]
    coax.envs.transition(env, actions(0))
    env.reset(options={"reset_mask": [False, False, True, False]})
    assert env.t.tolist() == [1, 2, 0, 1]


@pytest.mark.gate
def test_fresh_state_is_a_function_of_the_key():
    env = make()
    init, apply = coax.transform(lambda: coax.envs.transition(env, jnp.ones(N, jnp.int32)), over=env)
    keys = jax.random.split(jax.random.key(0), 3)
    rows, states = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys))
    for i in range(3):
        row, state = jax.jit(apply)(init(keys[i]))
        jax.tree.map(np.testing.assert_array_equal, row, jax.tree.map(lambda x, i=i: x[i], rows))
        np.testing.assert_array_equal(state[env]["observation"], states[env]["observation"][i])
    assert len(np.unique(np.asarray(rows.S[..., 0]))) > 3


@pytest.mark.usefixtures("caches_are_on")
def test_equal_environments_are_compiled_once():
    env = Drawn()
    first = JaxVectorEnv(env, N)
    coax.envs.transition(first, actions(0))
    with compilations() as found:
        other = JaxVectorEnv(env, N)
        coax.envs.transition(other, actions(0))
        coax.envs.transition(first.copy(), actions(0))
        other.reset(seed=1)
    assert len(found) <= 1  # reset, which the first did not call


def test_what_was_handed_out_is_not_consumed():
    env = make()
    step = coax.jit(lambda: coax.envs.transition(env, jnp.ones(N, jnp.int32)).R, over=env)
    step()
    assert {"observation", "t", "simulator"} <= env._owned
    S = env.observation
    assert "observation" not in env._owned
    kept, held = S.copy(), env._state["observation"]
    step()
    np.testing.assert_array_equal(S, kept)
    np.testing.assert_array_equal(held, kept)


def test_first_episodes_do_not_come_again():
    env = make(max_episode_steps=1)
    firsts = [coax.envs.transition(env, actions(0)).S[:, 0] for _ in range(30)]
    assert len({tuple(first) for first in firsts[:2]}) == 2
    assert len({tuple(first) for first in firsts}) >= 29  # of 9^4


def test_masks_of_the_environment_count():
    class Masked(FunctionalEnv):
        observation_space = Dict({"s": Discrete(4), "mask": MultiBinary(4)})
        action_space = Discrete(4)
        action_mask = coax.ActionMask("mask")

        def observe(self, s):
            return {"s": s, "mask": (jnp.arange(4) <= s).astype(jnp.int8)}

        def reset(self, key):
            return jnp.int32(0), self.observe(jnp.int32(0))

        def step(self, state, action, key):
            s = (state + 1) % 4
            return Outcome(s, self.observe(s), -1.0 * (action > state), False)

    env = JaxVectorEnv(Masked(), 8, random_seed=0)
    monitor = coax.wrappers.DeviceTrainMonitor(env)
    for where in (env, monitor):
        assert (coax.training.rollout(where, coax.RandomPolicy(where, random_seed=1), 12).R == 0).all()


def test_an_environment_that_was_changed():
    class Walk(Drawn):
        by = 1

        def step(self, state, action, key):
            return super().step(state, action, key)._replace(reward=self.by)

    walk = Walk()
    walk.by = 2
    before = make(walk)
    assert coax.envs.transition(before, actions(0)).R.tolist() == [2] * N
    walk.by = 5
    after = make(walk)
    assert coax.envs.transition(before, actions(0)).R.tolist() == [2] * N  # as it was when it was compiled
    assert coax.envs.transition(after, actions(0)).R.tolist() == [5] * N


def test_an_environment_may_write_into_its_state():
    class Writes(Drawn):
        def step(self, state, action, key):
            state["t"] += 1
            return Outcome(state, self.observe(state), 0.0, state["t"] == state["length"])

    env = make(Writes())
    for _ in range(20):
        row = coax.envs.transition(env, actions(0))
        np.testing.assert_array_equal(row.S_next[:, 1], row.S[:, 1] + 1)


def test_random_streams_of_step_and_reset_differ():
    class Noise(Drawn):
        observation_space = Box(0, 1, (), np.float32)

        def reset(self, key):
            x = jax.random.uniform(key)
            return x, x

        def step(self, state, action, key):
            x = jax.random.uniform(key)
            return Outcome(x, x, 0.0, False)

    env = make(Noise())
    rows = [coax.envs.transition(env, actions(t)) for t in range(100)]
    drawn = np.concatenate([np.stack([row.S_next for row in rows]).ravel(), env.observation])
    first = [row.S[0] for row, last in zip(rows[1:], rows, strict=False) if last.truncated[0]]
    assert len(np.unique(np.concatenate([drawn, first]))) == len(drawn) + len(first) - (env.t[0] > 0) * N


# --- errors -----------------------------------------------------------------------------------------------------------


def test_not_functional():
    with pytest.raises(
        TypeError, match=r"runs inside JAX, got TimeLimit, which lives on the host\. Fix: run it in a Python"
    ):
        JaxVectorEnv(gymnasium.make("CartPole-v1"), N)


def test_that_jax_cannot_trace():
    class Branches(Drawn):
        def step(self, state, action, key):
            return super().step(state, 3 if action == 2 else 1, key)

    with pytest.raises(TypeError, match=r"Branches\.step: expected a function that JAX can trace(.|\n)*Fix: "):
        make(Branches())


def test_a_state_that_changes_its_shape():
    class Grows(Drawn):
        def step(self, state, action, key):
            outcome = super().step(state, action, key)
            return outcome._replace(state={**outcome.state, "more": 1})

    class Turns(Drawn):
        def step(self, state, action, key):
            outcome = super().step(state, action, key)
            return outcome._replace(state={**outcome.state, "t": jnp.zeros(2, int)})

    class Halves(Drawn):
        def step(self, state, action, key):
            outcome = super().step(state, action, key)
            return outcome._replace(state={**outcome.state, "t": state["t"] + 0.5})

    for env, got in ((Grows(), "more"), (Turns(), r"int32\[2\]"), (Halves(), r"float32\[\]")):
        with pytest.raises(TypeError, match=rf"\.step: expected a state like that of reset, .* got .*{got}.*Fix: "):
            make(env)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"reward": jnp.ones(1)}, TypeError, r"Other\.step: expected one number as reward, got shape \[1\]\. Fix: "),
        ({"terminated": jnp.ones(2, bool)}, TypeError, r"expected one number as terminated, got shape \[2\]"),
        ({"reward": None}, TypeError, "expected a number as reward, got None"),
        (
            {"observation": jnp.zeros((3, 2))},
            ValueError,
            r"Other: expected one observation of .*, got leading axes \[3\]",
        ),
    ],
)
def test_outcomes_of_another_shape(changes, error, text):
    class Other(Drawn):
        def step(self, state, action, key):
            return super().step(state, action, key)._replace(**changes)

    with pytest.raises(error, match=text):
        make(Other()).step(actions(0))


def test_other_outcomes():
    class Six(Drawn):
        def step(self, state, action, key):
            return (*super().step(state, action, key), {})

    class One(Drawn):
        def reset(self, key):
            return super().reset(key)[1]

    with pytest.raises(TypeError, match=r"Six\.step: expected a coax\.envs\.Outcome, got .* Fix: return Outcome"):
        make(Six())
    with pytest.raises(TypeError, match=r"One\.reset: expected \(state, observation\), got .* Fix: return both"):
        make(One())


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"num_envs": 0}, ValueError, "num_envs: expected at least 1, got 0"),
        ({"num_envs": 2.5}, TypeError, "num_envs: expected an integer, got 2.5"),
        ({"num_envs": 2, "max_episode_steps": -1}, ValueError, "max_episode_steps: expected at least 1, got -1"),
        ({"num_envs": 2, "max_episode_steps": 0}, ValueError, "max_episode_steps: expected at least 1, got 0"),
        ({"num_envs": 2, "max_episode_steps": "x"}, TypeError, "max_episode_steps: expected an integer, got 'x'"),
    ],
)
def test_numbers(kwargs, error, text):
    with pytest.raises(error, match=text):
        JaxVectorEnv(Drawn(), **kwargs)


def test_actions():
    env = make()
    before = env.observation
    with pytest.raises(ValueError, match=r"actions: expected the leading axis \[4\], got \[3\]"):
        env.step(np.ones(3, int))
    with pytest.raises(ValueError, match="expected elements of"):
        env.step(np.zeros(N, int))
    with pytest.raises(ValueError, match=r"reset_mask: expected shape \[4\], got \[2\]"):
        env.reset(options={"reset_mask": np.ones(2, bool)})
    np.testing.assert_array_equal(env.observation, before)


def test_not_covered():
    env = make()
    with pytest.raises(StateError, match="JaxVectorEnv is used inside a lifted function that does not cover it"):
        coax.jit(lambda: coax.envs.transition(env, jnp.ones(N, jnp.int32)), over=())()


def test_a_host_monitor_in_a_compiled_loop():
    env = TrainMonitor(make())
    env.reset(seed=1)
    with pytest.raises(StateError, match=r"VectorTrainMonitor.* Fix: put a coax\.wrappers\.DeviceTrainMonitor"):
        coax.scan(lambda: coax.envs.transition(env, jnp.ones(N, jnp.int32)).R, 3, over=env.env)


def test_host_environments_in_a_compiled_function():
    single = coax.wrappers.LastObservation(gymnasium.make("CartPole-v1"))
    several = coax.wrappers.LastObservation(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"))
    single.reset(seed=1)
    several.reset(seed=1)
    before = several.observation.copy()
    for use in (
        lambda: coax.envs.transition(single, 0).R,
        lambda: coax.envs.transition(several, np.zeros(2, int)).R,
        lambda: several.step(np.zeros(2, int))[1],
        lambda: coax.training.rollout(several, lambda S: np.zeros(2, int), 2).R,
        lambda: coax.training.evaluate(several.env, lambda S: np.zeros(2, int), 2, seed=1).returns,
    ):
        with pytest.raises(StateError, match=r"lives in host memory .* Fix: use a coax\.envs\.JaxVectorEnv"):
            coax.jit(use, over=())()
    np.testing.assert_array_equal(several.observation, before)
