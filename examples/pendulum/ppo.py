"""PPO on Pendulum: clipped policy gradients over a Box of actions (Schulman et al., 2017)."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 200_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA, LAMBDA = 0.9, 0.95
SEGMENT, ROLLOUT, EPOCHS, BATCH_SIZE = 200, 2_000, 10, 100
UPDATES = STEPS // ROLLOUT * EPOCHS * (ROLLOUT // BATCH_SIZE)

# --- environment: swing a pendulum up; a reward from -16 to 0 for each of 200 steps, one action from -2 to 2
env = coax.wrappers.TrainMonitor(gymnasium.make("Pendulum-v1"))


# --- functions
def hidden(S):
    """Two layers, for each function its own."""
    return hk.Sequential([hk.Linear(64), jax.nn.tanh, hk.Linear(64), jax.nn.tanh])(S)


def policy(S, is_training):
    """A normal distribution, whose deviation is the same in all states."""
    mu = hk.Linear(1, w_init=hk.initializers.RandomNormal(0.01))(hidden(S))
    return {"mu": mu, "logvar": jnp.broadcast_to(hk.get_parameter("logvar", (1,), init=jnp.zeros), mu.shape)}


def value(S, is_training):
    """One value for each state."""
    return hk.Linear(1)(hidden(S)).ravel()


pi = coax.Policy(policy, env, random_seed=SEED)
v = coax.V(value, env, random_seed=SEED)

# --- updaters: each transition brings its advantage and its return along
tracer = coax.reward_tracing.LambdaReturn(n=SEGMENT, gamma=GAMMA, lambda_=LAMBDA, v=v)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=ROLLOUT + SEGMENT, random_seed=SEED)
learning_rate = optax.linear_schedule(1e-3, 0, UPDATES)  # slower and slower, so that the end is stable
adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
ppo = coax.policy_objectives.PPOClip(pi, optimizer=adam, epsilon=0.2, normalize_advantage=True)
simple_td = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)


@coax.jit(over=(ppo, simple_td))
def learn(batch):
    """Both updates, in one call to the device."""
    return {**ppo.update(batch), **simple_td.update(batch)}


# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a, logp = pi(s, return_logp=True)
    s_next, r, terminated, truncated, info = env.step(a)

    # An episode ends only because time ran out: there is a future to value, in s_next.
    tracer.add(s, a, r, terminated, logp, truncated=truncated, s_next=s_next)
    if tracer:
        buffer.add(tracer.flush())

    if len(buffer) >= ROLLOUT:
        for _ in range(EPOCHS * ROLLOUT // BATCH_SIZE):
            env.record_metrics(learn(buffer.sample(BATCH_SIZE)))
        buffer.clear()

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the mode of the policy in an environment of its own
test_env = gymnasium.make("Pendulum-v1")
s, info = test_env.reset(seed=SEED)
total, terminated, truncated = 0.0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    total += float(r)
print(f"The return is {total:.0f}; above -250 is good.")
