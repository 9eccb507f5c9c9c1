"""Programs that train, save what they hold, and go on from there in another process.

    python -m tests.checkpoint.resumed dqn runs/dqn --every 150 --until 300

trains from the latest checkpoint in that folder, or from the beginning, saves each 150 steps, and at the end once more
in ``end.safetensors``. What it prints is where it began.
"""

import argparse
import json
import pathlib

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax

SEED = 13


def layers(n):
    return hk.Sequential([hk.Linear(16), jax.nn.tanh, hk.Linear(n)])


def frozen_lake(checkpointer, STEPS):
    """Q-learning. The ice is slippery: the environment draws too."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"))
    q = coax.Q(lambda S, is_training: hk.Linear(4, w_init=jnp.ones)(S), env, random_seed=SEED)
    pi = coax.EpsilonGreedy(q, epsilon=0.5)
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.05))
    objects = {"env": env, "q": q, "pi": pi, "tracer": tracer, "qlearning": qlearning}

    if checkpointer.restore_latest(**objects):
        s = env.observation
    else:
        s, _ = env.reset(seed=SEED)
    began = {"T": env.T, "t": env.t}
    while env.T < STEPS:
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            env.record_metrics(qlearning.update(tracer.pop()))
        s = s_next
        if terminated or truncated:
            s, _ = env.reset()
        checkpointer.save(env.T, **objects)
    return began, objects


def dqn(checkpointer, STEPS):
    """Prioritised replay of three-step windows: in an episode three steps always wait in the tracer."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"))
    q = coax.Q(lambda S, is_training: layers(2)(S), env, random_seed=SEED)
    q_targ = q.copy()
    pi = coax.EpsilonGreedy(q, epsilon=1.0)
    epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (300, 0.1))
    beta = coax.utils.StepwiseLinearFunction((0, 0.4), (300, 1.0))
    tracer = coax.reward_tracing.NStep(n=3, gamma=0.9)
    buffer = coax.experience_replay.PrioritizedReplayBuffer(capacity=128, alpha=0.6, beta=0.4, random_seed=SEED)
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.01))
    objects = {
        "env": env,
        "q": q,
        "q_targ": q_targ,
        "pi": pi,
        "tracer": tracer,
        "buffer": buffer,
        "qlearning": qlearning,
    }

    if checkpointer.restore_latest(**objects):
        s = env.observation
    else:
        s, _ = env.reset(seed=SEED)
    began = {"T": env.T, "t": env.t, "waiting": waiting_in(tracer), "stored": len(buffer)}
    while env.T < STEPS:
        pi.epsilon = epsilon(env.T)
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            transition = tracer.pop()
            buffer.add(transition, qlearning.td_error(transition))
        if len(buffer) >= 32:
            buffer.beta = beta(env.T)
            batch = buffer.sample(16)
            metrics, td_error = qlearning.update(batch, return_td_error=True)
            buffer.update(batch.idx, td_error)
            env.record_metrics(metrics)
        if env.period("sync", T_period=20):
            q_targ.soft_update(q, tau=1.0)
        s = s_next
        if terminated or truncated:
            s, _ = env.reset()
        checkpointer.save(env.T, **objects)
    return began, objects


def waiting_in(tracer):
    """How many steps are in a tracer: one for each of the rewards that it holds."""
    copy = tracer.copy()
    copy.add(np.zeros(4, np.float32), 0, 0.0, True)
    return len(copy.flush().Rn) - 1


def sac(checkpointer, STEPS):
    """The first actions, and some later ones, are drawn by the generator of the action space."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("Pendulum-v1", max_episode_steps=70))

    def law(S, is_training):
        mu, logvar = jnp.split(layers(2)(S), 2, axis=-1)
        return {"mu": mu, "logvar": logvar}

    def value(S, A, is_training):
        return layers(1)(jnp.concatenate([S, A], axis=-1)).ravel()

    dist = coax.proba_dists.SquashedNormalDist(env.action_space)
    pi = coax.Policy(law, env, proba_dist=dist, random_seed=SEED)
    qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=SEED)
    qs_targ = qs.copy()
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
    buffer = coax.experience_replay.SimpleReplayBuffer(capacity=1_000, random_seed=SEED)
    temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(1e-3))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = coax.td_learning.SoftClippedDoubleQLearning(
        qs, [pi], qs_targ, optimizer=optax.adam(1e-3), policy_regularizer=entropy
    )
    soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(1e-3), regularizer=entropy)
    objects = {
        "env": env,
        "pi": pi,
        "qs": qs,
        "qs_targ": qs_targ,
        "tracer": tracer,
        "buffer": buffer,
        "temperature": temperature,
        "entropy": entropy,
        "critic": critic,
        "soft_pg": soft_pg,
    }

    @coax.jit(over=(critic, soft_pg, temperature, qs_targ))
    def learn(batch):
        metrics = {**critic.update(batch), **soft_pg.update(batch), **temperature.update(batch)}
        qs_targ.soft_update(qs, tau=0.1)
        return metrics

    if checkpointer.restore_latest(**objects):
        s = env.observation
    else:
        env.action_space.seed(SEED)
        s, _ = env.reset(seed=SEED)
    began = {"T": env.T, "t": env.t, "stored": len(buffer)}
    while env.T < STEPS:
        a = pi(s) if len(buffer) >= 64 and env.T % 5 else env.action_space.sample()
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            buffer.add(tracer.pop())
        if len(buffer) >= 64:
            env.record_metrics(learn(buffer.sample(32)))
        s = s_next
        if terminated or truncated:
            s, _ = env.reset()
        checkpointer.save(env.T, **objects)
    return began, objects


def ppo(checkpointer, STEPS, mode="sync"):
    """Eight environments at once. It is saved in the middle of a segment."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=8, vectorization_mode=mode)
    env = coax.wrappers.TrainMonitor(env)
    pi = coax.Policy(lambda S, is_training: {"logits": layers(2)(S)}, env, random_seed=SEED)
    v = coax.V(lambda S, is_training: layers(1)(S).ravel(), env, random_seed=SEED)
    tracer = coax.reward_tracing.LambdaReturn(n=16, gamma=0.9, lambda_=0.9, v=v, num_envs=8)
    buffer = coax.experience_replay.SimpleReplayBuffer(capacity=256, random_seed=SEED)
    ppo_clip = coax.policy_objectives.PPOClip(pi, optimizer=optax.adam(0.01), normalize_advantage=True)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.01))
    objects = {
        "env": env,
        "pi": pi,
        "v": v,
        "tracer": tracer,
        "buffer": buffer,
        "ppo_clip": ppo_clip,
        "simple_td": simple_td,
    }

    if not checkpointer.restore_latest(**objects):
        env.reset(seed=SEED)
    began = {"T": env.T, "t": env.t.tolist(), "stored": len(buffer)}
    while env.T < STEPS:
        A, logP = pi(env.observation, return_logp=True)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        tracer.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
        if tracer:
            buffer.add(tracer.flush())
        if len(buffer) >= 128:
            for _ in range(4):
                batch = buffer.sample(32)
                env.record_metrics(ppo_clip.update(batch) | simple_td.update(batch))
            buffer.clear()
        checkpointer.save(env.T, **objects)
    return began, objects


def ppo_of_one_program(checkpointer, STEPS):
    """The same, where all eight environments are one piece of NumPy."""
    return ppo(checkpointer, STEPS, "vector_entry_point")


def compiled(checkpointer, STEPS):
    """Everything on the device; the loop is compiled in pieces of 25 turns."""
    env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs=4, max_episode_steps=30, random_seed=SEED)
    env = coax.wrappers.DeviceTrainMonitor(env, every=200, metrics=["QLearning/loss"])
    q = coax.Q(lambda S, is_training: layers(2)(S), env, random_seed=SEED)
    q_targ = q.copy()
    pi = coax.EpsilonGreedy(q, epsilon=1.0)
    epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (100, 0.1))
    tracer = coax.reward_tracing.DeviceNStep(n=3, gamma=0.9, env=env)
    buffer = coax.experience_replay.DeviceReplayBuffer(capacity=512, example=env, random_seed=SEED)
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.01))
    over = (env, pi, tracer, buffer, qlearning)
    objects = {
        "env": env,
        "q": q,
        "q_targ": q_targ,
        "pi": pi,
        "tracer": tracer,
        "buffer": buffer,
        "qlearning": qlearning,
    }

    def step(t):
        pi.epsilon = epsilon(t)
        A = pi(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))
        env.record_metrics(qlearning.update(buffer.sample(16)))
        coax.cond(t % 10 == 0, lambda: q_targ.soft_update(q, tau=1.0), lambda: None, over=q_targ)

    found = checkpointer.restore_latest(**objects, loop={"turn": 0})
    turn = found["loop"]["turn"] if found else 0
    began = {"T": turn, "t": env.t.tolist(), "stored": len(buffer)}
    while turn < STEPS:
        coax.scan(step, over=over, xs=jnp.arange(turn, turn + 25))
        turn += 25
        checkpointer.save(turn, **objects, loop={"turn": turn})
    return began, {**objects, "loop": {"turn": turn}}


CASES = {each.__name__: each for each in (frozen_lake, dqn, sac, ppo, ppo_of_one_program, compiled)}


def main(case, folder, every, until):
    """Train, and say where it began."""
    began, objects = CASES[case](coax.checkpoint.Checkpointer(folder, every=every), until)
    coax.save(pathlib.Path(folder) / "end.safetensors", **objects)
    return began


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("folder")
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--until", type=int, required=True)
    print(json.dumps(main(**vars(parser.parse_args()))))
