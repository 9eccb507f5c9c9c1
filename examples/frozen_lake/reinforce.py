"""REINFORCE on a frozen lake: what led to a high return becomes more likely (Williams, 1992)."""

import os

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 20000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.9

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


# --- functions
def policy(S, is_training):
    """A table of logits: S is one-hot. All actions are equally likely at first."""
    return {"logits": hk.Linear(env.action_space.n, with_bias=False, w_init=jnp.zeros)(S)}


pi = coax.Policy(policy, env, random_seed=SEED)

# --- updaters
tracer = coax.reward_tracing.MonteCarlo(gamma=GAMMA)
entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)  # keeps on trying other actions
vanilla_pg = coax.policy_objectives.VanillaPG(pi, optimizer=optax.adam(0.05), regularizer=entropy)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # A return ends with the episode. Where time ran out, what would have followed counts as nothing.
    tracer.add(s, a, r, terminated or truncated)
    if tracer:
        batch = tracer.flush()
        metrics = vanilla_pg.update(batch, Adv=batch.Rn)
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
