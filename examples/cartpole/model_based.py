"""Model-based control on CartPole: a model that is learned says what comes next, a state value how good that is."""

import os

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 5_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.9


# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
def make():
    """Position, velocity, angle and angular velocity, scaled so that each is about 1 when it gets dangerous."""
    space, scale = gymnasium.spaces.Box(-5, 5, (4,)), np.float32([2.4, 2.0, 0.2, 2.0])
    return gymnasium.wrappers.TransformObservation(gymnasium.make("CartPole-v1"), lambda s: s / scale, space)


env = coax.wrappers.TrainMonitor(make())


# --- functions
def next_state(S, A, is_training):
    """The state moves on by what depends on it, and on the action, in a line: almost true while the pole stands."""
    return S + hk.Linear(4, w_init=jnp.zeros)(S) + hk.Linear(4, w_init=jnp.zeros)(A)


def reward(S, A, is_training):
    """It is known: always 1."""
    return jnp.ones(len(S)) * hk.get_parameter("one", (), init=jnp.ones)


def value(S, is_training):
    """A hill with its top where everything is at rest, upright and in the middle. Its shape is learned."""
    top = hk.get_parameter("top", (), init=hk.initializers.Constant(1 / (1 - GAMMA)))
    return top - jnp.sum(hk.Linear(4, with_bias=False, w_init=hk.initializers.Identity())(S) ** 2, axis=-1)


p = coax.TransitionModel(next_state, env, random_seed=SEED)
r = coax.RewardFunction(reward, env, observation_preprocessor=p.observation_preprocessor, random_seed=SEED)
v = coax.V(value, env, observation_preprocessor=p.observation_preprocessor, random_seed=SEED)
q = coax.SuccessorStateQ(v, p, r, gamma=GAMMA)  # r(s, a) + gamma * v(p(s, a))
pi = coax.EpsilonGreedy(q, epsilon=0.1)

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
model = coax.model_updaters.ModelUpdater(p, optimizer=optax.adam(0.01), loss_function=coax.value_losses.mse)
simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.003), loss_function=coax.value_losses.mse)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, reward_, terminated, truncated, info = env.step(a)

    # Only where the pole fell is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, reward_, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        batch = tracer.pop()
        env.record_metrics(model.update(batch) | simple_td.update(batch))

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the greedy policy in an environment of its own
test_env = make()
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, _, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stands for {steps} of 500 steps.")
