"""Soft Q-learning on a frozen lake: a policy that stays random, and values that say so (Haarnoja et al., 2017)."""

import os

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 2_500))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.9
TEMPERATURE = 0.02  # in the units of the values: what lies this far below the best is chosen 1/e times as often

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


# --- functions
def func(S, is_training):
    """A table with a row for each state and a column for each action: S is one-hot.

    All values begin at 1, which no return exceeds: what was not tried looks best, and gets tried.
    """
    return hk.Linear(env.action_space.n, with_bias=False, w_init=jnp.ones)(S)


q = coax.Q(func, env, random_seed=SEED)
pi = coax.BoltzmannPolicy(q, temperature=TEMPERATURE)  # looks at q, hence follows what q learns

# --- updaters: a tracer turns steps into transitions, an updater learns from transitions
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
soft_qlearning = coax.td_learning.SoftQLearning(q, temperature=TEMPERATURE, optimizer=optax.sgd(0.5))

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Where the episode terminated there is no future to value; where time ran out there is one.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        metrics = soft_qlearning.update(tracer.pop())
        env.record_metrics(metrics)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the most likely actions, drawn on the map
arrows = np.array(list("←↓→↑"))[q(np.arange(16)).argmax(axis=-1)].reshape(4, 4)
lake = env.unwrapped.desc.astype(str)
print("\nThe most likely actions:", *map("".join, np.where(np.isin(lake, ["H", "G"]), lake, arrows)), sep="\n")

wins, test_env = 0, gymnasium.make("FrozenLakeNonSlippery-v0")
for _ in range(10):
    s, info = test_env.reset()
    terminated = truncated = False
    while not (terminated or truncated):
        s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    wins += r == 1
print(f"It reaches the goal in {wins} of 10 episodes.")
