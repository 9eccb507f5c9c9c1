"""TD learning of state values on a frozen lake, and acting on them: try each action in the model, keep the best."""

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

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))
model = env.unwrapped.P  # model[s][a] lists what may follow: (probability, s_next, r, terminated)


# --- functions
def func(S, is_training):
    """A table: S is one-hot. All values start at 1, the highest return there is, so unseen states get visited."""
    return hk.Linear(1, with_bias=False, w_init=jnp.ones)(S).ravel()


def look_ahead(s):
    """The value of each action: v says how good a state is, only the model says how to get there."""
    values = v(np.arange(16))
    outcomes = [model[s][a] for a in range(4)]
    return np.array([sum(p * (r + GAMMA * values[i] * (not end)) for p, i, r, end in some) for some in outcomes])


def pi(s, epsilon=0.0):
    """Greedy, ties broken at random; with probability epsilon any action."""
    q = look_ahead(s)
    return rng.choice(4 if rng.random() < epsilon else np.flatnonzero(q == q.max()))


v = coax.V(func, env, random_seed=SEED)
rng = np.random.default_rng(SEED)

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.sgd(0.3))  # a step towards r + gamma * v(s_next)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s, epsilon=0.1 * (1 - env.T / STEPS))  # v is that of a policy that explores: let it end up greedy
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the episode terminated is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        metrics = simple_td.update(tracer.pop())
        env.record_metrics(metrics)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the greedy policy, drawn on the map
arrows = np.array([list("←↓→↑")[look_ahead(s).argmax()] for s in range(16)]).reshape(4, 4)
lake = env.unwrapped.desc.astype(str)
print("\nThe greedy policy:", *map("".join, np.where(np.isin(lake, ["H", "G"]), lake, arrows)), sep="\n")

wins, greedy_env = 0, gymnasium.make("FrozenLakeNonSlippery-v0")
for _ in range(10):
    s, info = greedy_env.reset()
    terminated = truncated = False
    while not (terminated or truncated):
        s, r, terminated, truncated, info = greedy_env.step(pi(s))
    wins += r == 1
print(f"It reaches the goal in {wins} of 10 episodes.")
