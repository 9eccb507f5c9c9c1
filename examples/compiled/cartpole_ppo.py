"""PPO on eight CartPoles, with the whole loop compiled: clipped policy gradients (Schulman et al., 2017)."""

import os

import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 100_000))  # of all environments together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 8
GAMMA, LAMBDA = 0.99, 0.95
SEGMENT, EPOCHS, BATCH_SIZE = 128, 10, 64
ROLLOUT = SEGMENT * NUM_ENVS
ROLLOUTS = max(1, STEPS // ROLLOUT)
UPDATES = ROLLOUTS * EPOCHS * (ROLLOUT // BATCH_SIZE)

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), NUM_ENVS, random_seed=SEED)
env = coax.wrappers.DeviceTrainMonitor(env, every=10_000, metrics=["PPOClip/loss", "SimpleTD/loss"])


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
learning_rate = optax.linear_schedule(1e-3, 0, UPDATES)  # slower and slower, so that the end is stable
adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate))
ppo = coax.policy_objectives.PPOClip(pi, optimizer=adam, epsilon=0.2, normalize_advantage=True)
simple_td = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)


# --- loop
def learn(batch):
    """Both updates, with one batch."""
    metrics = ppo.update(batch) | simple_td.update(batch)
    env.record_metrics(metrics)


def iteration():
    """One turn of the loop: play, then learn from what was played, several times over."""
    rows = coax.training.rollout(env, pi, SEGMENT)
    # Only where a pole fell is there no future to value; where time ran out there is one, in S_next.
    batch = coax.reward_tracing.lambda_transitions(rows, GAMMA, LAMBDA, v(rows.S), v(rows.S_next))

    def epoch():
        order = jax.random.permutation(pi.rng, ROLLOUT).reshape(-1, BATCH_SIZE)
        coax.scan(learn, xs=jax.tree.map(lambda x: x[order], batch), over=(env, ppo, simple_td))

    coax.scan(epoch, EPOCHS, over=(env, ppo, simple_td))


coax.scan(iteration, ROLLOUTS, over=(env, ppo, simple_td))
env.close()

# --- result: the most likely actions in Gymnasium's own CartPole
returns, lengths = coax.training.evaluate("CartPole-v1", pi.mode, episodes=1, seed=SEED)
print(f"The pole stays up for {lengths[0]} of 500 steps.")
