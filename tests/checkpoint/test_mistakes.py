"""The mistakes people make, and what they read. Nothing is changed after one."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.checkpoint import CheckpointError
from tests import learners
from tests.checkpoint.test_damage import forged, taken_apart
from tests.counter import Counter

ENV = learners.spaces(learners.DISCRETE)


def q_of(hidden, seed=1, layers=1):
    def func(S, is_training):
        for _ in range(layers):
            S = jnp.tanh(hk.Linear(hidden)(S))
        return hk.Linear(3)(S)

    return coax.Q(func, ENV, random_seed=seed)


@pytest.fixture(name="path")
def path_of_file(tmp_path):
    counter = Counter(3)
    counter.step()
    coax.save(tmp_path / "file", q=q_of(8), counter=counter, loop={"t": 3, "s": np.zeros(2), "name": "x"})
    return tmp_path / "file"


LOOP = {"t": 0, "s": np.ones(2), "name": ""}


def assert_refused(path, text, **objects):
    objects = {"q": q_of(8, seed=2), "counter": Counter(), "loop": LOOP} | objects
    objects = {name: obj for name, obj in objects.items() if obj is not None}
    stateful = [obj for obj in objects.values() if isinstance(obj, Counter | coax.Q)]
    before = [obj.state for obj in stateful]
    with pytest.raises(CheckpointError) as caught:
        coax.load(path, **objects)
    assert text in str(caught.value)
    assert "Fix: " in str(caught.value)
    assert all(
        x is y for x, y in zip(jax.tree.leaves(before), jax.tree.leaves([o.state for o in stateful]), strict=True)
    )


@pytest.mark.gate
def test_another_architecture(path):
    text = "q['params']['linear']['b']: expected float32[9], the file has float32[8]"
    assert_refused(path, text, q=q_of(9))
    text = "q['params']['linear_2']: the file does not have it"
    assert_refused(path, text, q=q_of(8, layers=2))
    assert_refused(path, "the file has it, the object does not", q=q_of(8, layers=0))


def test_an_object_of_another_kind(path):
    text = "loop: expected a Stateful object as the Counter that was passed, the file has data (dict)"
    assert_refused(path, text, loop=Counter())
    assert_refused(path, "q: expected data as the dict that was passed, the file has a Stateful object (Q)", q={})
    text = (
        "counter: expected an environment as the CartPoleEnv that was passed, the file has a Stateful object (Counter)"
    )
    assert_refused(path, text, counter=gymnasium.make("CartPole-v1").unwrapped)


def test_objects_that_are_missing(path):
    text = "it also holds 'counter', a Counter. Fix: pass it, as counter=<an object built as it was>, or leave it"
    assert_refused(path, text, counter=None)
    assert_refused(path, "it does not hold 'pi', only ['counter', 'loop', 'q']", pi=Counter())
    assert_refused(path, "it does not hold 'pi', only ['counter', 'loop', 'q']", pi=...)
    assert_refused(path, "it does not hold 'qq', only ['counter', 'loop', 'q']", qq=q_of(8), counter=..., loop=...)
    assert coax.load(path, q=q_of(8), counter=..., loop=...).keys() == {"q"}


def test_trees_that_are_not_alike(path):
    assert_refused(path, "loop['s']: expected float64[3], the file has float64[2]", loop={**LOOP, "s": np.ones(3)})
    assert_refused(path, "loop['s']: expected float32[2], the", loop={**LOOP, "s": np.ones(2, np.float32)})
    assert_refused(path, "loop['t']: expected a float, the file has a int", loop={**LOOP, "t": 0.0})
    assert_refused(path, "loop['t']: expected a list, the file has a int", loop={**LOOP, "t": [0]})
    assert_refused(path, "Or pass loop=None, to get what was saved", loop={**LOOP, "t": [0]})
    assert_refused(path, "loop['x']: the file does not have it", loop={**LOOP, "x": 0})
    assert_refused(path, "loop['t']: expected None, the file has a int", loop={**LOOP, "t": None})
    assert_refused(path, "loop['name']: the file has it, the object does not", loop={"t": 0, "s": LOOP["s"]})


def test_a_newer_format(path):
    header, description, body = taken_apart(path.read_bytes())
    path.write_bytes(forged(header, {**description, "format": 2}, body))
    assert_refused(
        path, f"expected format 1 or older, got 2: it was written by a newer coax ({{'coax': '{coax.__version__}'"
    )


@pytest.mark.gate
def test_precision(path):
    with jax.enable_x64(True):
        assert_refused(path, "counter['x']: expected float64[3], the file has float32[3]", q=...)


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "file"
    q, target = q_of(8), q_of(8)
    qlearning = coax.td_learning.QLearning(q, q_targ=target, optimizer=optax.sgd(0.1))
    for objects, text in [
        ({}, "coax.save: expected objects, got none"),
        ({"up": qlearning, "q": q}, "up: it refers to Q, whose state would be lost. Fix: save that too, under a name"),
        ({"pi": coax.EpsilonGreedy(q)}, "pi: it refers to Q, whose state would be lost"),
        ({"x": {"a": [q]}}, "x['a'][0]: expected arrays, numbers, strings, and trees of them, got Q"),
        ({"x": {"a": open}}, "x['a']: expected arrays, numbers, strings, and trees of them, got builtin_function"),
        ({"x": np.array(["a"])}, "x: expected numbers, got an array of <U1"),
        ({"x": np.array([None])}, "x: expected numbers, got an array of object"),
        ({"x": {1.5: 2}}, "x: expected strings or integers as keys, got 1.5"),
    ]:
        with pytest.raises(CheckpointError) as caught:
            coax.save(path, **objects)
        assert text in str(caught.value)
        assert "Fix: " in str(caught.value)
        assert not path.exists()
    with pytest.raises(CheckpointError, match=r"description of at most 16777216 bytes.*Fix: keep many numbers"):
        coax.save(path, x=[0.1] * 400_000)
    endless: list = []
    endless.append(endless)
    deep: list = []
    for _ in range(201):
        deep = [deep]
    for x in (endless, deep):
        with pytest.raises(
            CheckpointError, match=r"^x(\[0\])+.*: expected at most 200 levels, got more, or a tree that con"
        ):
            coax.save(path, x=x)
    with pytest.raises(CheckpointError, match=r"^x: expected an integer of at most 4300 digits.*Fix: "):
        coax.save(path, x=10**5000)
    assert not path.exists()


def test_in_a_compiled_function(path):
    counter = Counter()
    for func in (lambda: coax.save(path, counter=counter), lambda: coax.load(path, counter=counter)):
        with pytest.raises(coax.errors.StateError, match=r"in a compiled function would be done once.*Fix: "):
            coax.jit(func, over=counter)()
        with pytest.raises(coax.errors.StateError, match="in a compiled function would be done once"):
            jax.jit(func)()


def test_gradients_that_were_not_finite(path):
    """Before anything is written, an updater says what it has not said yet."""
    before = path.read_bytes()
    q = q_of(8)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.sgd(0.1))
    batch = learners.batches_of(ENV)(2)
    batch.Rn[:] = np.nan
    qlearning.update(batch)
    with pytest.raises(RuntimeError, match="QLearning"):
        coax.save(path, q=q, qlearning=qlearning)
    assert path.read_bytes() == before
    coax.save(path, q=q, qlearning=qlearning)


def test_host_objects_that_do_not_fit(tmp_path):
    path = tmp_path / "file"
    tracer = coax.reward_tracing.NStep(n=3, gamma=0.9)
    tracer.add(np.zeros(3, np.float32), 1, 0.5, False)
    buffer = coax.experience_replay.SimpleReplayBuffer(8)
    buffer.add(coax.utils.get_transition_batch(ENV, batch_size=8))
    coax.save(path, tracer=tracer, buffer=buffer, norm=(norm := coax.utils.OrnsteinUhlenbeckNoise()))
    fresh = coax.reward_tracing.NStep(n=3, gamma=0.9)
    small = coax.experience_replay.SimpleReplayBuffer(4)
    with pytest.raises(
        CheckpointError, match=r"buffer: SimpleReplayBuffer\.state.*expected float32\[4\], got float32\[8\].*Fix:"
    ):
        coax.load(path, tracer=fresh, buffer=small, norm=norm)
    assert not len(fresh)  # though it would have fitted
    assert not len(small)
    other = coax.reward_tracing.NStep(n=3, gamma=0.9)
    other.add(np.zeros(4, np.float32), 1, 0.5, False)
    with pytest.raises(CheckpointError, match=r"tracer: NStep\.state\['s'\].*Fix:"):
        coax.load(path, tracer=other, buffer=..., norm=...)


def but_for(tree, name, *rest):
    """Nested dictionaries in which one leaf is another: the last argument, in the place that those before it name."""
    return {**tree, name: rest[0] if len(rest) == 1 else but_for(tree[name], *rest)}


def test_states_that_a_host_object_cannot_have():
    tracer = coax.reward_tracing.MonteCarlo(gamma=0.9)
    tracer.add(np.zeros(3, np.float32), 1, 0.5, True)
    buffer = coax.experience_replay.PrioritizedReplayBuffer(8)
    buffer.add(coax.utils.get_transition_batch(ENV, batch_size=2), np.ones(2))
    noise = coax.utils.OrnsteinUhlenbeckNoise()
    noise(np.zeros(2))
    for obj, path, text in [
        (
            tracer,
            ("popped", np.array(2**31 - 1, np.int32)),
            r"\['popped'\]: expected a number from 0 to 1, got 2147483647",
        ),
        (tracer, ("popped", np.array(-1, np.int32)), r"\['popped'\]: expected a number from 0 to 1, got -1"),
        (tracer, ("end", np.array(3, np.int32)), r"\['end'\]: expected 0, 1 or 2, got 3"),
        (buffer, ("transitions", "A", {}), r"\['transitions'\]\['A'\]: expected 2 rows, got {}"),
        (buffer, ("transitions", "Rn", {}), r"\['transitions'\]\['Rn'\]: expected 2 rows, got {}"),
        (buffer, ("alpha", np.array(np.nan)), r"\['alpha'\]: expected a number of at least 0, got nan"),
        (buffer, ("highest", np.array(np.inf)), r"\['highest'\]: expected a number of at least 0, got inf"),
        (buffer, ("priorities", np.array([1.0, np.nan])), r"\['priorities'\]: expected finite numbers"),
        (noise, ("noise", np.array([0.0, np.nan])), "expected numbers as noise, got NaN"),
        (noise, ("numbers", "theta", np.array(np.nan)), "expected numbers as theta, got NaN"),
    ]:
        before = obj.state
        with pytest.raises(TypeError, match=text):
            obj.state = but_for(before, *path)
        jax.tree.map(np.testing.assert_array_equal, obj.state, before)
