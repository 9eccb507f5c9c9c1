"""A2C on CartPole: an actor and a critic learn from short segments, each used once (Mnih et al., 2016)."""

import os

import gymnasium
import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 200_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA, LAMBDA = 0.99, 0.95
SEGMENT = 32

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"))


# --- functions
def hidden(S):
    """Two layers, for each function its own."""
    return hk.Sequential([hk.Linear(64), jax.nn.tanh, hk.Linear(64), jax.nn.tanh])(S)


def policy(S, is_training):
    """Logits; all actions are equally likely at first."""
    return {"logits": hk.Linear(env.action_space.n, w_init=hk.initializers.RandomNormal(0.01))(hidden(S))}


def value(S, is_training):
    """One value for each state."""
    return hk.Linear(1)(hidden(S)).ravel()


pi = coax.Policy(policy, env, random_seed=SEED)
v = coax.V(value, env, random_seed=SEED)

# --- updaters: each transition brings its advantage and its return along
tracer = coax.reward_tracing.LambdaReturn(n=SEGMENT, gamma=GAMMA, lambda_=LAMBDA, v=v)
learning_rate = optax.linear_schedule(1e-3, 0, STEPS // SEGMENT)  # slower and slower, so that the end is stable
adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.001)
vanilla_pg = coax.policy_objectives.VanillaPG(pi, optimizer=adam, regularizer=entropy)
simple_td = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)


@coax.jit(over=(vanilla_pg, simple_td))
def learn(batch):
    """Both updates, in one call to the device."""
    return {**vanilla_pg.update(batch), **simple_td.update(batch)}


# --- loop
segment = []
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the pole fell is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        segment.append(tracer.pop())
        if len(segment) == SEGMENT:  # always as many, so that all is compiled once
            env.record_metrics(learn(coax.reward_tracing.concatenate(segment)))
            segment.clear()

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the most likely actions in an environment of its own
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
