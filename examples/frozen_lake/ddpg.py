"""DDPG on a frozen lake, where actions are discrete: the policy climbs the expectation over them."""

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
BATCH_SIZE = 32

# --- environment: 16 states, 4 actions, reward 1 at the goal and 0 elsewhere, at most 20 steps an episode
env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


# --- functions
def policy(S, is_training):
    """A table of logits: S is one-hot. All actions are equally likely at first."""
    return {"logits": hk.Linear(env.action_space.n, with_bias=False, w_init=jnp.zeros)(S)}


def value(S, A, is_training):
    """A table of values: S and A are one-hot. All start at 1, the highest return there is."""
    return jnp.einsum("bs,ba,sa->b", S, A, hk.get_parameter("w", (S.shape[1], A.shape[1]), init=jnp.ones))


pi = coax.Policy(policy, env, random_seed=SEED)
q = coax.Q(value, env, random_seed=SEED)
q_targ = q.copy()

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=1_000, random_seed=SEED)
entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.02)  # keeps on trying other actions
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.02))
deterministic_pg = coax.policy_objectives.DeterministicPG(pi, q, optimizer=optax.adam(0.02), regularizer=entropy)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the episode terminated is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= BATCH_SIZE:
        batch = buffer.sample(BATCH_SIZE)
        env.record_metrics(qlearning.update(batch) | deterministic_pg.update(batch))
        q_targ.soft_update(q, tau=0.05)

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
