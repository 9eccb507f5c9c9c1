"""Expected Sarsa on a frozen lake, with the distribution of the return in place of its expectation."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 2_500))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.9
NUM_BINS = 20  # of returns from 0 to 1

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


# --- functions
def func(S, is_training):
    """Logits of the bins, for each action: a table, as S is one-hot. At first all are sure of the highest return."""
    table = hk.Linear(env.action_space.n * NUM_BINS, with_bias=False, w_init=jnp.zeros)(S)
    return {"logits": table.reshape(-1, env.action_space.n, NUM_BINS) + 8.0 * jax.nn.one_hot(NUM_BINS - 1, NUM_BINS)}


q = coax.StochasticQ(func, env, value_range=(0, 1), num_bins=NUM_BINS, random_seed=SEED)
pi = coax.EpsilonGreedy(q, epsilon=0.05)

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
learning_rate = optax.linear_schedule(0.5, 0, STEPS)  # slower and slower, so that the end is stable
# Towards the mixture over all next actions, with the probabilities of the policy.
expected_sarsa = coax.td_learning.ExpectedSarsa(q, pi, optimizer=optax.adam(learning_rate))

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the episode terminated is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        metrics = expected_sarsa.update(tracer.pop())
        env.record_metrics(metrics)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the greedy policy, drawn on the map
arrows = np.array(list("←↓→↑"))[q.mean(np.arange(16)).argmax(axis=-1)].reshape(4, 4)
lake = env.unwrapped.desc.astype(str)
print("\nThe greedy policy:", *map("".join, np.where(np.isin(lake, ["H", "G"]), lake, arrows)), sep="\n")

wins, greedy_env = 0, gymnasium.make("FrozenLakeNonSlippery-v0")
for _ in range(10):
    s, info = greedy_env.reset()
    terminated = truncated = False
    while not (terminated or truncated):
        s, r, terminated, truncated, info = greedy_env.step(pi.mode(s))
    wins += r == 1
print(f"It reaches the goal in {wins} of 10 episodes.")
