"""PPO on eight games of Pong at once, from the screen (Schulman et al., 2017)."""

import os

import ale_py
import gymnasium
import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 2_500_000))  # of four frames each, of all games together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 8
GAMMA, LAMBDA = 0.99, 0.95
SEGMENT, ROLLOUT, EPOCHS, BATCH_SIZE = 128, 1_024, 4, 256
UPDATES = STEPS // ROLLOUT * EPOCHS * (ROLLOUT // BATCH_SIZE)

# --- environment: 1 for each point, -1 for each one lost, until one side has 21; needs the extra coax[atari]
gymnasium.register_envs(ale_py)


def make(num_envs):
    """Games that make grey pictures by themselves and stack the last four: u8[4, 84, 84]."""
    return gymnasium.make_vec("ALE/Pong-v5", num_envs=num_envs)


env = coax.wrappers.TrainMonitor(make(NUM_ENVS))


# --- functions
def hidden(S):
    """A picture of what matters, for each function its own. The frames are bytes until they are here, on the device."""
    X = S.transpose(0, 2, 3, 1) / 255.0
    layers = [hk.Conv2D(16, 8, 4, padding="VALID"), jax.nn.relu, hk.Conv2D(32, 4, 2, padding="VALID"), jax.nn.relu]
    return hk.Sequential([*layers, hk.Flatten(), hk.Linear(256), jax.nn.relu])(X)


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
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=2 * ROLLOUT, random_seed=SEED, frame_axis=0)
learning_rate = optax.linear_schedule(5e-4, 0, UPDATES)  # slower and slower, so that the end is stable
adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)
ppo = coax.policy_objectives.PPOClip(pi, optimizer=adam, regularizer=entropy, epsilon=0.1, normalize_advantage=True)
simple_td = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)


@coax.jit(over=(ppo, simple_td))
def learn(batch):
    """Both updates, in one call to the device."""
    return {**ppo.update(batch), **simple_td.update(batch)}


# --- loop
env.reset(seed=SEED)
while env.T < STEPS:
    A, logP = pi(env.observation, return_logp=True)
    # S_next is what each action led to, also where a game ended; the next one begins by itself.
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)

    tracer.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
    if tracer:
        buffer.add(tracer.flush())

    if len(buffer) >= ROLLOUT:
        for _ in range(EPOCHS * ROLLOUT // BATCH_SIZE):
            env.record_metrics(learn(buffer.sample(BATCH_SIZE)))
        buffer.clear()
env.close()

# --- result: the most likely actions in a game of its own
test_env = make(num_envs=1)
S, info = test_env.reset(seed=SEED)
total, over = 0.0, False
while not over:
    S, R, terminated, truncated, info = test_env.step(pi.mode(S))
    total += R.item()
    over = bool(terminated[0] or truncated[0])
print(f"The return is {total:.0f}, from -21 to 21; above 0 the game is won.")
