"""A2C on a frozen lake: an actor learns from what a critic did not expect (Mnih et al., 2016)."""

import os

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 10000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.9

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


# --- functions
def policy(S, is_training):
    """A table of logits: S is one-hot. All actions are equally likely at first."""
    return {"logits": hk.Linear(env.action_space.n, with_bias=False, w_init=jnp.zeros)(S)}


def value(S, is_training):
    """A table of values."""
    return hk.Linear(1, with_bias=False, w_init=jnp.zeros)(S).ravel()


pi = coax.Policy(policy, env, random_seed=SEED)
v = coax.V(value, env, random_seed=SEED)

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)  # keeps on trying other actions
vanilla_pg = coax.policy_objectives.VanillaPG(pi, optimizer=optax.adam(0.02), regularizer=entropy)
simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.sgd(0.2), loss_function=coax.value_losses.mse)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the episode terminated is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        batch = tracer.pop()
        metrics, td_error = simple_td.update(batch, return_td_error=True)
        metrics |= vanilla_pg.update(batch, Adv=td_error)
        env.record_metrics(metrics)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the most likely actions, drawn on the map
arrows = np.array(list("←↓→↑"))[pi.dist_params(np.arange(16))["logits"].argmax(axis=-1)].reshape(4, 4)
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
