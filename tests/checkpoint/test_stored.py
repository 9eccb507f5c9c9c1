"""Files of earlier formats, which every later version must be able to load.

``python -m tests.checkpoint.test_stored`` makes the file of the present format anew; only before its release.
"""

from pathlib import Path

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax

FOLDER = Path(__file__).parent / "stored"


def objects():
    """A learner, data, and an environment, in the first format's time."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"), log_all_metrics=True)
    q = coax.Q(lambda S, is_training: hk.Linear(4, w_init=jnp.zeros)(S), env, random_seed=1)
    q_targ = q.copy()
    pi = coax.EpsilonGreedy(q, epsilon=0.1)
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.1))
    tracer = coax.reward_tracing.NStep(n=3, gamma=0.9)
    buffer = coax.experience_replay.PrioritizedReplayBuffer(8, random_seed=1)
    noise = coax.utils.OrnsteinUhlenbeckNoise(random_seed=1)
    loop = {"t": 0, "x": np.zeros(3, np.float32), "frames": np.zeros((64, 64), np.uint8), "name": "", "none": None}
    found = {"env": env, "q": q, "q_targ": q_targ, "pi": pi, "qlearning": qlearning}
    return found | {"tracer": tracer, "buffer": buffer, "noise": noise, "loop": loop}


def used():
    """The same with numbers that are known."""
    objs = objects()
    env, q, tracer, buffer = (objs[name] for name in ("env", "q", "tracer", "buffer"))
    env.reset(seed=1)
    for k in range(6):
        _, _, terminated, truncated, _ = env.step(1)
        tracer.add(k, k % 4, 0.5 * k, False, s_next=k + 1)
        if tracer:
            buffer.add(tracer.pop(), np.array([k + 0.5]))
        if terminated or truncated:
            break
    q.params = jax.tree.map(lambda x: x + jnp.arange(x.size, dtype=x.dtype).reshape(x.shape), q.params)
    objs["pi"].epsilon = 0.25
    env.record_metrics({"QLearning/loss": 1.5})
    objs["noise"].sigma = 0.5
    frames = np.zeros((64, 64), np.uint8)
    frames[10:20] = 7
    loop = {"t": 12, "x": np.float32([1, 2, 3]), "frames": frames, "name": "first", "none": None}
    return objs | {"loop": loop}


@pytest.mark.parametrize("number", [1])
def test_a_file_of_an_earlier_format(number):
    objs = objects()
    with np.errstate(all="raise"):
        loop = coax.load(FOLDER / f"format_{number}.safetensors", **objs)["loop"]
    q, buffer, tracer, env = (objs[name] for name in ("q", "buffer", "tracer", "env"))
    np.testing.assert_array_equal(q.params["linear"]["b"], [0, 1, 2, 3])
    np.testing.assert_array_equal(q.params["linear"]["w"], np.arange(64.0).reshape(16, 4))
    np.testing.assert_array_equal(q(3), [12, 14, 16, 18])  # row 3 of w, and b
    assert not np.any(objs["q_targ"].params["linear"]["w"])
    assert objs["pi"].epsilon == 0.25
    assert (loop["t"], loop["name"], loop["none"]) == (12, "first", None)
    assert loop["x"].tolist() == [1, 2, 3]
    assert loop["frames"].sum() == 10 * 64 * 7
    assert objs["noise"].sigma == 0.5
    assert env.get_metrics() == {"QLearning/loss": 1.5}
    assert (env.ep, env.t) == (1, env.T - 1)
    assert env.observation == env.unwrapped.s
    # with n = 3 a transition comes out with the fourth step: rewards 0 + 0.9 * 0.5 + 0.81 * 1 = 1.26, then 0.5 + ...
    assert len(tracer) == 3
    assert [batch.S.item() for batch in buffer] == list(range(len(buffer)))
    np.testing.assert_allclose(
        [batch.Rn.item() for batch in buffer], (1.26 + 1.355 * np.arange(len(buffer))), rtol=1e-6
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    coax.save(FOLDER / "format_1.safetensors", **used())
