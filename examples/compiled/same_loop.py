"""One step of DQN on FrozenLake, in a Python loop and then in a compiled one: the values come out the same."""

import os
import time

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 2_000))  # of all environments together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 4
GAMMA = 0.9
BATCH_SIZE = 32

# --- environment: find a way over the ice to the goal, for a reward of 1
env = coax.envs.JaxVectorEnv(coax.envs.FrozenLake(is_slippery=False), NUM_ENVS, random_seed=SEED)


# --- functions
def func(S, is_training):
    """A table with one value for each state (S is one-hot) and action; all start at 1, the highest return there is."""
    return hk.Linear(env.single_action_space.n, with_bias=False, w_init=jnp.ones)(S)


q = coax.Q(func, env, random_seed=SEED)
pi = coax.EpsilonGreedy(q, epsilon=0.1)

# --- updaters
tracer = coax.reward_tracing.DeviceNStep(n=2, gamma=GAMMA, env=env)
buffer = coax.experience_replay.DeviceReplayBuffer(capacity=1_000, example=env, random_seed=SEED)
qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.02))


# --- loop
def act():
    """One step in each environment."""
    A = pi(env.observation)
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
    buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))


def step():
    """One turn of the loop."""
    act()
    qlearning.update(buffer.sample(BATCH_SIZE))


first, turns = 2 * BATCH_SIZE // NUM_ENVS, STEPS // NUM_ENVS
objects = (env, q, pi, tracer, buffer, qlearning)
start = [obj.state for obj in objects]


def run(in_python):
    """The whole training, from the start: the values it ends with, and the seconds it took."""
    for obj, state in zip(objects, start, strict=True):
        obj.state = state
    coax.scan(act, first, objects, unjitted=in_python)
    began = time.perf_counter()
    coax.scan(step, turns, objects, unjitted=in_python)
    jax.block_until_ready(q.params)
    return np.asarray(q.params["linear"]["w"]), time.perf_counter() - began


in_python, seconds_in_python = run(in_python=True)
run(in_python=False)  # compiles
compiled, seconds = run(in_python=False)

# --- result
print(f"{turns} turns took {seconds_in_python:.2f} s in Python and {seconds:.4f} s compiled.")
print(f"The values differ by {np.abs(in_python - compiled).max():.1e} at most.")
