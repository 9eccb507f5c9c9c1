"""PPO on eight CartPoles at once: clipped policy gradients (Schulman et al., 2017)."""

import os

import gymnasium
import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 100_000))  # of all environments together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 8
GAMMA, LAMBDA = 0.99, 0.95
SEGMENT, ROLLOUT, EPOCHS, BATCH_SIZE = 128, 1_024, 10, 64
UPDATES = STEPS // ROLLOUT * EPOCHS * (ROLLOUT // BATCH_SIZE)

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make_vec("CartPole-v1", num_envs=NUM_ENVS, vectorization_mode="sync"))


# --- functions
def hidden(S):
    """Two layers, for each function its own."""
    return hk.Sequential([hk.Linear(64), jax.nn.tanh, hk.Linear(64), jax.nn.tanh])(S)


def policy(S, is_training):
    """Logits; all actions are equally likely at first."""
    return {"logits": hk.Linear(env.single_action_space.n, w_init=hk.initializers.RandomNormal(0.01))(hidden(S))}


def value(S, is_training):
    """One value for each state."""
    return hk.Linear(1)(hidden(S)).ravel()


pi = coax.Policy(policy, env, random_seed=SEED)
v = coax.V(value, env, random_seed=SEED)

# --- updaters: each transition brings its advantage and its return along
tracer = coax.reward_tracing.LambdaReturn(n=SEGMENT, gamma=GAMMA, lambda_=LAMBDA, v=v, num_envs=NUM_ENVS)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=2 * ROLLOUT, random_seed=SEED)
learning_rate = optax.linear_schedule(1e-3, 0, UPDATES)  # slower and slower, so that the end is stable
adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
ppo = coax.policy_objectives.PPOClip(pi, optimizer=adam, epsilon=0.2, normalize_advantage=True)
simple_td = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)


@coax.jit(over=(ppo, simple_td))
def learn(batch):
    """Both updates, in one call to the device."""
    return {**ppo.update(batch), **simple_td.update(batch)}


# --- loop
env.reset(seed=SEED)
while env.T < STEPS:
    A, logP = pi(env.observation, return_logp=True)
    # S_next is what each action led to, also where an episode ended; the next one begins by itself.
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)

    # Only where a pole fell is there no future to value; where time ran out there is one, in S_next.
    tracer.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
    if tracer:
        buffer.add(tracer.flush())

    if len(buffer) >= ROLLOUT:
        for _ in range(EPOCHS * ROLLOUT // BATCH_SIZE):
            env.record_metrics(learn(buffer.sample(BATCH_SIZE)))
        buffer.clear()
env.close()

# --- result: the most likely actions in an environment of its own
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
