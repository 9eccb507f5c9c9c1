"""Probe environments: so small that all their values are known, each asks one thing of an algorithm.

Each probe has the attributes

=============== ========= ==============================================================================================
gamma           float     discount factor that its values are for
v_uniform       [S]       values of the policy that plays uniformly at random
v_best          [S]       values of the best policy
q_uniform       [S, A]    action values of the one
q_best          [S, A]    and of the other
best_action     [S]       what the best policy does; nan where it does not matter
actions         [A]       the actions that q_uniform and q_best are for: all of them, or some from a Box
=============== ========= ==============================================================================================

and, if its actions are discrete, ``q_soft(temperature)`` [S, A], the fixed point of the soft maximum
``temperature * log(sum(exp(q / temperature)))``. Observations number the states.
"""

import gymnasium
import numpy as np

import coax

LOG_2 = np.log(2)


class Probe(gymnasium.Env):
    """What the probes share: two discrete actions, states that are numbers."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(2)
    actions = np.array([0, 1])
    gamma = 0.9

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = self.first_state()
        return self.s, {}

    def first_state(self):
        return 0


class OneStep(Probe):
    """One state, one step, reward 1. Does the value follow the reward?

    Every value is 1, and nothing follows that a soft maximum could be taken over.
    """

    v_uniform = v_best = np.array([1.0])
    q_uniform = q_best = np.array([[1.0, 1.0]])
    best_action = np.array([np.nan])

    def step(self, action):
        return self.s, 1.0, True, False, {}

    def q_soft(self, temperature):
        return self.q_best


class TwoSteps(Probe):
    """The reward 1 comes at the second of two steps, 0 at the first. Does the value travel back?

    State 1 is worth 1 and state 0 is worth 0.9. The soft maximum in state 1 is 1 + temperature * log(2).
    """

    observation_space = gymnasium.spaces.Discrete(2)
    v_uniform = v_best = np.array([0.9, 1.0])
    q_uniform = q_best = np.array([[0.9, 0.9], [1.0, 1.0]])
    best_action = np.array([np.nan, np.nan])

    def step(self, action):
        r, terminated = float(self.s), self.s == 1
        self.s = 1
        return self.s, r, terminated, False, {}

    def q_soft(self, temperature):
        return np.array([[0.9, 0.9], [1.0, 1.0]]) + temperature * LOG_2 * np.array([[0.9, 0.9], [0.0, 0.0]])


class RewardOfTheAction(Probe):
    """One state, one step: action 1 gives 1 and action 0 gives 0. Are actions told apart, does the policy move?

    The best policy takes action 1, which is worth 1; half of the time it is taken at random, for a value of 1/2.
    """

    v_uniform, v_best = np.array([0.5]), np.array([1.0])
    q_uniform = q_best = np.array([[0.0, 1.0]])
    best_action = np.array([1])

    def step(self, action):
        return self.s, float(action), True, False, {}

    def q_soft(self, temperature):
        return self.q_best


class RewardOfBoth(Probe):
    """One step from state 0 or 1, by a fair coin: reward 1 for the action of the same number, -1 for the other.

    Does the policy look at the observation? The best one repeats it, for 1. At random the value is 0, and so it is for
    all policies that do not look.
    """

    observation_space = gymnasium.spaces.Discrete(2)
    v_uniform, v_best = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    q_uniform = q_best = np.array([[1.0, -1.0], [-1.0, 1.0]])
    best_action = np.array([0, 1])

    def first_state(self):
        return int(self.np_random.integers(2))

    def step(self, action):
        return self.s, 1.0 if action == self.s else -1.0, True, False, {}

    def q_soft(self, temperature):
        return self.q_best


class OnlyTruncated(Probe):
    """One state with reward 1, cut off after 5 steps, and never terminated. Is a time limit told from an end?

    With gamma = 1/2 the value is 1 / (1 - gamma) = 2; an algorithm that takes a truncation for an end stays below it.
    The soft value solves q = 1 + gamma * (q + temperature * log(2)), so it is 2 + temperature * log(2).
    """

    gamma = 0.5
    v_uniform = v_best = np.array([2.0])
    q_uniform = q_best = np.array([[2.0, 2.0]])
    best_action = np.array([np.nan])

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.t += 1
        return self.s, 1.0, False, self.t >= 5, {}

    def q_soft(self, temperature):
        return self.q_best + temperature * LOG_2


# --- continuous actions


class BoxProbe(Probe):
    """What those share whose actions are numbers from -1 to 1."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    actions = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


class DistanceToATarget(BoxProbe):
    """One step from state 0 or 1, by a fair coin: reward -(a - target)^2, with the target -0.5 in 0 and 0.5 in 1.

    Does a continuous policy find what depends on the observation? The best action is the target, for 0. At random the
    value is -(var(a) + target^2) = -(1/3 + 1/4) = -7/12.
    """

    observation_space = gymnasium.spaces.Discrete(2)
    v_uniform, v_best = np.array([-7 / 12, -7 / 12]), np.array([0.0, 0.0])
    # -(a - 0.5)^2 at a = -1, -0.5, 0, 0.5, 1, and the same from the other side
    q_uniform = q_best = -np.array([[0.25, 0.0, 0.25, 1.0, 2.25], [2.25, 1.0, 0.25, 0.0, 0.25]])
    best_action = np.array([-0.5, 0.5])

    def first_state(self):
        return int(self.np_random.integers(2))

    def step(self, action):
        return self.s, -float((action[0] - self.best_action[self.s]) ** 2), True, False, {}


class DistanceAtTheSecondStep(BoxProbe):
    """The reward 1 - (a - 0.5)^2 comes at the second of two steps, 0 at the first.

    Does the value of a continuous action travel back? The best action in state 1 is 0.5, for 1, hence 0.9 in state 0.
    At random state 1 is worth 1 - 7/12 = 5/12, and state 0 is worth 0.9 * 5/12 = 3/8.
    """

    observation_space = gymnasium.spaces.Discrete(2)
    v_uniform, v_best = np.array([3 / 8, 5 / 12]), np.array([0.9, 1.0])
    q_uniform = np.array([[3 / 8] * 5, [-1.25, 0.0, 0.75, 1.0, 0.75]])
    q_best = np.array([[0.9] * 5, [-1.25, 0.0, 0.75, 1.0, 0.75]])
    best_action = np.array([np.nan, 0.5])

    def step(self, action):
        s, self.s = self.s, 1
        return 1, 1.0 - float((action[0] - 0.5) ** 2) if s else 0.0, s == 1, False, {}


DISCRETE = (OneStep, TwoSteps, RewardOfTheAction, RewardOfBoth, OnlyTruncated)
CONTINUOUS = (DistanceToATarget, DistanceAtTheSecondStep)


def play(env, n_steps, n=1, seed=0, pi=None):
    """Transitions of a policy, by default one that draws uniformly, until the first end of an episode after `n_steps`.

    Parameters
    ----------
    env : Probe
    n_steps : int
    n : int, optional
        Steps of a transition.
    seed : int, optional
        For the environment and the actions.
    pi : coax.Policy, optional

    Returns
    -------
    TransitionBatch
        In the order of playing, with log-propensities, and the next action also where an episode was truncated.
    """
    # Not the seed alone: the actions would then be those that the environment draws for its states.
    rng, tracer, batches = np.random.default_rng((seed, 1)), coax.reward_tracing.NStep(n, env.gamma), []
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    logp = -LOG_2  # one of two actions; and an interval of length 2

    def draw(s):
        if pi is not None:
            return pi(s, return_logp=True)
        return int(rng.integers(2)) if discrete else rng.uniform(-1, 1, 1).astype(np.float32), logp

    s, _ = env.reset(seed=seed)
    (a, logp_now), t, over = draw(s), 0, False
    while t < n_steps or not over:
        s_next, r, terminated, truncated, _ = env.step(a)
        over = terminated or truncated
        a_next, logp_next = draw(s_next)
        following = {"s_next": s_next, "a_next": a_next, "logp_next": logp_next} if truncated else {"s_next": s_next}
        tracer.add(s, a, r, terminated, logp_now, truncated=truncated, **following)
        s, t = s_next, t + 1
        if over:
            batches.append(tracer.flush())
            s, _ = env.reset()
        a, logp_now = draw(s) if over else (a_next, logp_next)
    return coax.reward_tracing.concatenate(batches)
