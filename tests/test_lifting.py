"""Lifted functions: coax.transform, coax.jit, coax.scan, coax.cond."""

import copy
import dataclasses
import gc
import threading
import weakref

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.counter import Counter, Pair

KEY = jax.random.key(0)
LAKE = gymnasium.make("FrozenLake-v1")


def linear(S, is_training):
    return hk.Linear(4)(S)


def sarsa(q):
    return coax.td_learning.Sarsa(q, optimizer=optax.sgd(0.5), loss_function=coax.value_losses.mse)


def batch(seed=0):
    return coax.reward_tracing.get_transition_batch(LAKE, batch_size=4, random_seed=seed)


def walked(seed, n):
    """Where a Counter is after n steps, from the definition of its stream."""
    keys = [jax.random.fold_in(jax.random.key(seed), i) for i in range(n)]
    return np.sum([np.array(jax.random.normal(key, (3,))) for key in keys], axis=0)


def assert_walked(counter, seed, n):
    assert int(counter.state["n"]) == n
    np.testing.assert_allclose(counter.state["x"], walked(seed, n), rtol=1e-5, atol=1e-6)


# --- one program, many turns


def test_jit_does_what_python_does():
    counter = Counter(seed=3)
    step = coax.jit(counter.step, over=counter)
    assert [int(step()) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert_walked(counter, 3, 5)


def test_jit_is_a_decorator_and_keeps_the_name():
    counter = Counter()

    @coax.jit(over=counter)
    def twice(by, *, minus=0):
        """Two steps."""
        return counter.step(by) + counter.step(by) - minus

    assert (twice.__name__, twice.__doc__) == ("twice", "Two steps.")
    # counts 0 and then 2
    assert int(twice(2)) == 2
    # 4 + 6 - 1
    assert int(twice(2, minus=1)) == 9


def test_errors_of_jax_name_the_function_and_its_line():
    counter = Counter()

    def positive():
        return 1 if counter.step() > 0 else 0

    where = f"the function positive at {__file__}:{positive.__code__.co_firstlineno} "
    for call in (coax.jit(positive, over=counter), lambda: coax.scan(positive, 3, over=counter)):
        with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
            call()
        assert where in str(caught.value)
    assert_walked(counter, 0, 0)


@pytest.mark.parametrize("unjitted", [False, True])
def test_scan_does_what_python_does(unjitted):
    counter = Counter(seed=3)
    counts = coax.scan(counter.step, 5, over=counter, unjitted=unjitted)
    assert counts.tolist() == [0, 1, 2, 3, 4]
    assert_walked(counter, 3, 5)


@pytest.mark.parametrize("unjitted", [False, True])
def test_scan_over_inputs(unjitted):
    counter = Counter()

    def step(x):
        return {"before": counter.step(x["by"]), "twice": 2 * x["by"]}

    out = coax.scan(step, over=counter, xs={"by": np.array([1, 10, 100])}, unjitted=unjitted)
    assert out["before"].tolist() == [0, 1, 11]
    assert out["twice"].tolist() == [2, 20, 200]
    assert int(counter.n) == 111


def test_scan_of_a_body_that_returns_nothing():
    counter = Counter()

    def step():
        counter.step()

    assert coax.scan(step, 4, over=counter) is None
    assert int(counter.n) == 4


@pytest.mark.parametrize(
    ("length", "xs"),
    [(None, None), (3, np.zeros(4)), (None, (np.zeros(3), np.zeros(4))), (2, 1.0), (0, None), (-1, None), (2.5, None)],
)
def test_scan_wants_one_length(length, xs):
    with pytest.raises(ValueError, match=r"scan: expected one length of at least 1, got length=.* Fix: pass length="):
        coax.scan(lambda x=None: None, length, over=(), xs=xs)


def test_nested_scans():
    counter = Counter(seed=1)

    def outer():
        return coax.scan(counter.step, 3, over=counter)

    out = coax.scan(outer, 2, over=counter)
    assert out.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert_walked(counter, 1, 6)


def test_nested_jit():
    counter, other = Counter(seed=1), Counter(seed=2)
    inner = coax.jit(counter.step, over=counter)

    @coax.jit(over=(counter, other))
    def outer():
        a = inner()
        other.step(10)
        return a, inner()

    assert [int(n) for n in outer()] == [0, 1]
    assert [int(n) for n in outer()] == [2, 3]
    assert_walked(counter, 1, 4)
    assert int(other.n) == 20
    assert int(inner()) == 4


def test_jit_inside_scan_inside_jit():
    counter = Counter(seed=1)
    inner = coax.jit(counter.step, over=counter)

    @coax.jit(over=counter)
    def run():
        return coax.scan(inner, 3, over=counter)

    assert run().tolist() == [0, 1, 2]
    assert run().tolist() == [3, 4, 5]
    assert_walked(counter, 1, 6)


def test_objects_can_exchange_their_states():
    a, b = Counter(seed=1), Counter(seed=2)

    @coax.jit(over=(a, b))
    def swap():
        a.state, b.state = b.state, a.state

    a.step(), a.step(), b.step(7)
    for _ in range(3):
        swap()
    assert (int(a.n), int(b.n)) == (7, 2)
    step = coax.jit(lambda: (a.step(), b.step()), over=(a, b))
    step()
    assert (int(a.n), int(b.n)) == (8, 3)


def test_one_object_may_take_the_state_of_another_and_both_go_on():
    a, b = Counter(seed=1), Counter(seed=2)

    @coax.jit(over=(a, b))
    def follow():
        b.state = a.state
        a.step()

    for _ in range(3):
        follow()
    assert (int(a.n), int(b.n)) == (3, 2)
    np.testing.assert_allclose(b.state["x"], walked(1, 2), rtol=1e-5)
    assert_walked(a, 1, 3)


def test_a_state_that_is_returned_stays_valid():
    counter = Counter()
    step = coax.jit(lambda: (counter.step(), counter.state["x"]), over=counter)
    xs = [step()[1] for _ in range(4)]
    for n, x in enumerate(xs, start=1):
        np.testing.assert_allclose(x, walked(0, n), rtol=1e-5, atol=1e-6)


def test_unchanged_leaves_are_not_outputs():
    q = coax.Q(linear, LAKE, random_seed=0)
    counter = Counter()
    before = q.state

    @coax.jit(over=(q, counter))
    def step():
        counter.step()
        return q(3)

    step()
    after = q.state
    assert all(a is b for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    (compiled,) = step._cache.values()
    # of q nothing; of the counter n, x and the count of its stream, and not the base key
    assert len(compiled.program.changed) == 3


def test_new_shapes_compile_again_and_the_old_ones_stay():
    counter = Counter()
    f = coax.jit(lambda x: counter.step() + x.sum(), over=counter)
    for shape in [(2,), (3,), (2,), (3,)]:
        f(np.ones(shape, np.float32))
    assert len(f._cache) == 2
    assert int(counter.n) == 4


def test_python_numbers_do_not_compile_again_for_each_value():
    counter = Counter()
    f = coax.jit(counter.step, over=counter)
    for by in (1, 2, 3):
        f(by)
    assert len(f._cache) == 1
    assert int(counter.n) == 6


# --- transform


def test_transform_is_pure():
    counter = Counter(seed=4)
    init, apply = coax.transform(counter.step, over=counter)
    states = init(KEY)
    out, new = apply(states, 5)
    assert (int(out), int(states[counter]["n"]), int(new[counter]["n"]), int(counter.n)) == (0, 0, 5, 0)
    out, new = jax.jit(apply)(new, 5)
    assert (int(out), int(new[counter]["n"]), int(counter.n)) == (5, 10, 0)


def test_init_folds_the_key_by_position_and_starts_children_first():
    a, b = Counter(), Counter()
    pair = Pair(a, b)
    a.step()
    states = coax.transform(lambda: None, over=pair).init(KEY)
    assert list(states) == [a, b, pair]
    for position, obj in enumerate((a, b)):
        expected = jax.random.fold_in(KEY, position)
        assert jax.random.key_data(states[obj]["rng"].key).tolist() == jax.random.key_data(expected).tolist()
    # the pair looks at the *fresh* state of a, which is zero, and adds one
    assert states[pair]["seen"].tolist() == [1, 1, 1]


def test_init_keeps_what_it_is_told_to():
    a, b = Counter(), Counter()
    pair = Pair(a, b)
    a.step(), b.step()
    states = coax.transform(lambda: None, over=pair).init(KEY, keep=a)
    assert int(states[a]["n"]) == 1
    np.testing.assert_allclose(states[pair]["seen"], walked(0, 1) + 1, rtol=1e-5)
    assert int(states[b]["n"]) == 0
    with pytest.raises(ValueError, match=r"keep: Counter is not covered. Fix: add it to over"):
        coax.transform(lambda: None, over=pair).init(KEY, keep=(Counter(),))


@pytest.mark.parametrize("order", [0, 1])
def test_a_copy_starts_as_its_origin(order):
    q = coax.Q(linear, LAKE, random_seed=0)
    q_targ = q.copy()
    q_targ.params = jax.tree.map(jnp.zeros_like, q.params)
    copy_of_copy = q_targ.copy()
    objs = (q, q_targ, copy_of_copy) if order == 0 else (copy_of_copy, q_targ, q)
    states = coax.transform(lambda: None, over=objs).init(KEY)
    for other in (q_targ, copy_of_copy):
        for a, b in zip(jax.tree.leaves(states[q]), jax.tree.leaves(states[other]), strict=True):
            assert (a == b).all()
    independent = coax.Q(linear, LAKE, random_seed=0)
    states = coax.transform(lambda: None, over=(q, independent)).init(KEY)
    w, v = (states[obj]["params"]["linear"]["w"] for obj in (q, independent))
    assert np.abs(w - v).max() > 0.01


def test_a_copy_starts_as_the_present_state_of_an_origin_that_is_kept():
    q = coax.Q(linear, LAKE, random_seed=0)
    q_targ = q.copy()
    q.params = jax.tree.map(jnp.ones_like, q.params)
    states = coax.transform(lambda: None, over=(q, q_targ)).init(KEY, keep=q)
    assert np.all(np.array(states[q_targ]["params"]["linear"]["w"]) == 1)


def test_states_are_found_by_object():
    a, b = Counter(), Counter(name="left over")
    states = coax.transform(lambda: None, over=a).init(KEY)
    assert len(states) == 1
    assert repr(states) == "States(Counter)"
    with pytest.raises(KeyError, match=r"Counter 'left over' is not among these states: States\(Counter\)"):
        states[b]
    new = states.replace({a: {**states[a], "n": jnp.int32(9)}})
    assert (int(new[a]["n"]), int(states[a]["n"])) == (9, 0)
    with pytest.raises(TypeError, match=r"Counter.state\['n'\]: expected int32\[\], got float32\[\]"):
        states.replace({a: {**states[a], "n": jnp.float32(9)}})
    for obj, state in new.items():
        obj.state = state
    assert int(a.n) == 9


def test_the_older_kind_of_key_starts_the_same():
    init = coax.transform(lambda: None, over=(counter := Counter())).init
    new, old = init(jax.random.key(5))[counter]["rng"].key, init(jax.random.PRNGKey(5))[counter]["rng"].key
    assert jax.random.key_data(new).tolist() == jax.random.key_data(old).tolist()


# --- numbers that may be set


def test_setting_a_number_takes_effect_in_a_compiled_function_without_compiling():
    q = coax.Q(lambda S, is_training: hk.Linear(4, w_init=hk.initializers.Constant(jnp.arange(4.0)))(S), LAKE)
    pi = coax.EpsilonGreedy(q, epsilon=0.0)
    logits = coax.jit(lambda: pi.dist_params(3)["logits"], over=pi)
    # the last action is the best: epsilon 0 gives it all the mass, 1 a quarter, 0.4 gives 0.6 + 0.1
    for epsilon, best in [(0.0, 1.0), (1, 0.25), (np.float64(0.4), 0.7)]:
        pi.epsilon = epsilon
        np.testing.assert_allclose(np.exp(logits()[3]), best, rtol=1e-5)
    assert len(logits._cache) == 1


def test_a_number_can_be_set_inside():
    pi = coax.EpsilonGreedy(coax.Q(linear, LAKE), epsilon=1.0)

    @coax.jit(over=pi)
    def decay(rate):
        pi.epsilon = pi.epsilon * rate
        return pi.epsilon

    assert float(decay(0.5)) == 0.5
    assert float(decay(0.5)) == 0.25
    assert pi.epsilon == 0.25
    assert len(decay._cache) == 1
    assert pi.state["epsilon"].dtype == np.float32


# --- cond


@pytest.mark.parametrize("compiled", [False, True])
def test_cond(compiled):
    a, b = Counter(), Counter()

    def step(t):
        n = coax.cond(t % 3 == 0, a.step, lambda: b.step(10), over=(a, b))
        return n

    f = coax.jit(step, over=(a, b)) if compiled else step
    # a counts at 0, 3, 6; b at 1, 2, 4, 5
    assert [int(f(t)) for t in range(7)] == [0, 0, 10, 1, 20, 30, 2]
    assert (int(a.n), int(b.n)) == (3, 40)


def test_cond_passes_arguments_and_returns_what_the_branch_returns():
    counter = Counter()

    @coax.jit(over=counter)
    def f(pred, x):
        return coax.cond(pred, lambda x: (counter.step(), x + 1), lambda x: (jnp.int32(-1), x), x, over=counter)

    assert [int(v) for v in f(True, 5)] == [0, 6]
    assert [int(v) for v in f(False, 5)] == [-1, 5]
    assert int(counter.n) == 1


def test_cond_may_read_what_is_covered_around_it_and_leaves_it_out():
    a, buffer = Counter(), Counter(name="buffer")

    @coax.jit(over=(a, buffer))
    def f(pred):
        buffer.step(100)
        coax.cond(pred, lambda: a.step(buffer.n), lambda: jnp.int32(0), over=a)

    f(True), f(False)
    assert (int(a.n), int(buffer.n)) == (100, 200)
    (compiled,) = f._cache.values()
    conds = [e for e in compiled.program.closed.jaxpr.eqns if e.primitive.name == "cond"]
    # the branches change a's count and walk; the stream's count advances too; nothing of the buffer comes out
    assert [len(e.outvars) for e in conds] == [4]


def test_cond_with_branches_of_different_structure():
    counter = Counter()
    with pytest.raises(TypeError, match=r"cond: the branches return different structures: .* Fix: return the same"):
        coax.jit(lambda p: coax.cond(p, lambda: (1, 2), lambda: 1, over=counter), over=counter)(True)


# --- errors: what would be lost or become a constant is refused, and nothing is changed


def uncovered_read():
    a, b = Counter(name="a"), Counter(name="b")
    coax.jit(lambda: b.n, over=a)()


def uncovered_change():
    a, b = Counter(name="a"), Counter(name="b")
    coax.jit(lambda: (a.step(), b.step()), over=a)()


def uncovered_by_transform():
    a, b = Counter(name="a"), Counter(name="b")
    init, apply = coax.transform(lambda: b.step(), over=a)
    apply(init(KEY))


def uncovered_in_nested_jit():
    a, b = Counter(name="a"), Counter(name="b")
    inner = coax.jit(lambda: (a.step(), b.n), over=a)
    coax.jit(lambda: inner(), over=(a, b))()


def uncovered_child_of_init():
    class Careless(Pair):
        @property
        def children(self):
            return (self.second,)

    coax.transform(lambda: None, over=Careless(Counter(name="b"), Counter(name="c"))).init(KEY)


@pytest.mark.parametrize(
    "use", [uncovered_read, uncovered_change, uncovered_by_transform, uncovered_in_nested_jit, uncovered_child_of_init]
)
def test_an_object_that_is_not_covered_is_named(use):
    with pytest.raises(coax.errors.StateError, match=r"Counter 'b' is used inside a lifted function"):
        use()


def bare_scan(step):
    jax.lax.scan(lambda c, _: (c, step()), 0, length=2)


def bare_cond(step):
    jax.lax.cond(jnp.array(True), step, lambda: jnp.int32(0))


def bare_vmap(step):
    jax.vmap(lambda x: step() + x)(jnp.arange(3))


def bare_grad(step):
    jax.grad(lambda x: step() * x)(1.0)


def bare_jit(step):
    jax.jit(lambda x: step() + x)(1)


BARE = [bare_scan, bare_cond, bare_vmap, bare_grad, bare_jit]


@pytest.mark.parametrize("bare", BARE)
def test_changing_a_covered_object_inside_a_bare_transformation(bare):
    counter = Counter(name="b")
    before = counter.state
    with pytest.raises(
        coax.errors.StateError, match=r"Counter 'b' is changed inside a bare jax .* Fix: use coax.scan or coax.cond"
    ):
        coax.jit(lambda: bare(counter.step), over=counter)()
    assert all(a is b for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(counter.state), strict=True))


@pytest.mark.parametrize("bare", [bare_scan, bare_cond, bare_vmap, bare_grad])
def test_reading_a_covered_object_inside_a_bare_transformation_is_fine(bare):
    counter = Counter()
    counter.step(by=4)
    coax.jit(lambda: bare(lambda: counter.n.astype(jnp.float32) if bare is bare_grad else counter.n), over=counter)()


@pytest.mark.parametrize("bare", BARE)
def test_a_stateful_call_under_a_bare_transformation(bare):
    counter = Counter(name="b")
    with pytest.raises(coax.errors.StateError, match=r"Counter 'b' is used under a bare jax .* Fix: use coax.jit"):
        bare(counter.step)
    assert int(counter.n) == 0


CALLS = {
    "pi(s)": lambda q, pi, updater: pi(3),
    "pi.mode(s)": lambda q, pi, updater: pi.mode(3),
    "q(s)": lambda q, pi, updater: q(3),
    "q.params": lambda q, pi, updater: q.params,
    "q.state": lambda q, pi, updater: q.state,
    "q.rng": lambda q, pi, updater: q.rng,
    "pi.epsilon": lambda q, pi, updater: pi.epsilon,
    "set epsilon": lambda q, pi, updater: setattr(pi, "epsilon", 0.5),
    "update": lambda q, pi, updater: updater.update(batch()),
    "td_error": lambda q, pi, updater: updater.td_error(batch()),
    "soft_update": lambda q, pi, updater: q.soft_update(q, tau=0.5),
    "copy": lambda q, pi, updater: q.copy(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("around", ["jax.jit", "coax.jit"])
def test_every_call_names_the_object_and_the_repair(call, around):
    q = coax.Q(linear, LAKE, random_seed=0)
    pi, updater = coax.EpsilonGreedy(q), sarsa(q)
    states = [obj.state for obj in (q, pi, updater)]
    jit = jax.jit if around == "jax.jit" else coax.jit(over=Counter())
    with pytest.raises(coax.errors.StateError, match=r"(Q|EpsilonGreedy|Sarsa).* Fix: "):
        jit(lambda: (call(q, pi, updater), None)[1])()
    after = [obj.state for obj in (q, pi, updater)]
    assert all(a is b for a, b in zip(jax.tree.leaves(states), jax.tree.leaves(after), strict=True))


def test_changing_in_a_branch_what_only_the_function_around_covers():
    a, b = Counter(name="a"), Counter(name="b")
    f = coax.jit(lambda: coax.cond(jnp.array(True), b.step, lambda: jnp.int32(0), over=a), over=(a, b))
    with pytest.raises(coax.errors.StateError, match=r"Counter 'b' is changed inside a coax.scan or coax.cond"):
        f()


def test_host_objects_are_refused_with_what_to_use_instead():
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
    counter = Counter()
    for use in (
        lambda: coax.jit(lambda: None, over=tracer),
        lambda: coax.scan(lambda: tracer.add(0, 0, 0.0, False), 3, over=counter),
        lambda: coax.jit(lambda: tracer.state, over=counter)(),
        lambda: jax.jit(lambda: tracer.add(0, 0, 0.0, False))(),
    ):
        with pytest.raises(coax.errors.StateError, match=r"NStep.* lives in host memory .* Fix: "):
            use()
    assert not tracer


def test_after_an_exception_all_states_are_as_before():
    a, b = Counter(), Counter()
    a.step(), b.step()
    before = a.state, b.state

    class Oops(Exception):
        pass

    def fail(flag=True):
        a.step()
        b.step()
        if flag:
            raise Oops

    for use in (
        coax.jit(fail, over=(a, b)),
        lambda: coax.scan(fail, 3, over=(a, b)),
        coax.jit(lambda: coax.cond(jnp.array(True), fail, fail, over=(a, b)), over=(a, b)),
        coax.jit(coax.jit(fail, over=(a, b)), over=(a, b)),
    ):
        with pytest.raises(Oops):
            use()
        after = a.state, b.state
        assert all(x is y for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    fail(flag=False)
    assert (int(a.n), int(b.n)) == (2, 2)


def test_an_error_in_a_host_callback_loses_nothing():
    """A program that calls back may fail after it has started, so it must not consume the states."""
    counter = Counter()
    counter.step()
    broken = [False]

    def look(n):
        if broken[0]:
            raise ValueError("no")
        return np.float32(n)

    @coax.jit(over=counter)
    def f():
        n = counter.step()
        return jax.pure_callback(look, jax.ShapeDtypeStruct((), np.float32), n)

    assert float(f()) == 1
    broken[0] = True
    with pytest.raises(Exception, match="no"):
        jax.block_until_ready(f())
    jax.block_until_ready(counter._peek())


def test_other_threads_and_callbacks_see_the_state_of_before():
    counter = Counter()
    counter.step()
    seen = []

    @coax.jit(over=counter)
    def f():
        counter.step(by=5)
        thread = threading.Thread(target=lambda: seen.append(counter.state["n"]))
        thread.start()
        thread.join()
        jax.debug.callback(lambda: seen.append(counter.state["n"]))

    f()
    jax.effects_barrier()
    assert len(seen) == 2
    assert not any(isinstance(n, jax.core.Tracer) for n in seen)
    assert int(seen[0]) == 1
    assert int(counter.n) == 6


def test_what_is_changed_while_tracing_fits_the_state():
    counter = Counter()

    @coax.jit(over=counter)
    def f():
        counter.state = {**counter.state, "x": jnp.zeros(4)}

    with pytest.raises(TypeError, match=r"Counter.state\['x'\]: expected float32\[3\], got float32\[4\]"):
        f()


# --- lifetime


@pytest.mark.gate
def test_dropping_every_object_frees_the_rules_and_programs():
    def func(S, is_training):
        return hk.Linear(4)(S)

    q = coax.Q(func, LAKE, random_seed=0)
    pi = coax.BoltzmannPolicy(q)
    updater = sarsa(q)

    def step():
        pi(3)  # noqa: F821 - the name goes below, and so does this function
        return updater.update(batch())  # noqa: F821

    lifted = coax.jit(step, over=(pi, updater))
    lifted()
    updater.update(batch())
    pi(3), q(3)
    coax.scan(step, 3, over=(pi, updater))
    states = coax.transform(step, over=(pi, updater)).init(KEY)
    refs = [weakref.ref(x) for x in (q, pi, updater, q.rule, pi.rule, updater.rule, step, func)]
    del q, pi, updater, step, lifted, func, states
    for _ in range(3):  # an outer rule lets go of an inner one when it is freed itself
        gc.collect()
    assert [ref() for ref in refs] == [None] * len(refs)


def test_a_loop_keeps_its_program_with_its_body():
    counter = Counter()
    traced = []

    def step():
        traced.append(1)
        return counter.step()

    for _ in range(3):
        coax.scan(step, 4, over=counter)
    assert len(traced) == 1
    coax.scan(step, 5, over=counter)
    assert len(traced) == 2
    assert int(counter.n) == 17


def test_a_bound_method_keeps_its_program_per_object():
    a, b = Counter(seed=1), Counter(seed=2)
    for _ in range(2):
        coax.scan(a.step, 3, over=a)
        coax.scan(b.step, 3, over=b)
    assert_walked(a, 1, 6)
    assert_walked(b, 2, 6)


# --- updaters


def test_an_update_in_python_is_the_same_compiled_and_scanned():
    rows = [batch(seed) for seed in range(20)]
    runs = {}
    for how in ("python", "jit", "scan"):
        q = coax.Q(linear, LAKE, random_seed=0)
        q_targ = q.copy()
        updater = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.1))

        def learn(tb, updater=updater, q=q, q_targ=q_targ):
            metrics = updater.update(tb)
            q_targ.soft_update(q, tau=0.1)
            return metrics

        if how == "scan":
            metrics = coax.scan(learn, over=(updater, q_targ), xs=jax.tree.map(lambda *x: np.stack(x), *rows))
            losses = metrics["QLearning/loss"]
        else:
            f = coax.jit(learn, over=(updater, q_targ)) if how == "jit" else learn
            losses = [float(f(tb)["QLearning/loss"]) for tb in rows]
        runs[how] = (losses, q.params["linear"], q_targ.params["linear"])
    for how in ("jit", "scan"):
        np.testing.assert_allclose(runs[how][0], runs["python"][0], rtol=1e-4)
        for a, b in zip(jax.tree.leaves(runs[how][1:]), jax.tree.leaves(runs["python"][1:]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_gradients_that_are_not_finite_are_found_in_mapped_states():
    q = coax.Q(linear, LAKE, random_seed=0)
    updater = sarsa(q)
    init, apply = coax.transform(updater.update, over=updater)
    states = jax.vmap(init)(jax.random.split(KEY, 3))
    tb = batch()
    coax.check(states)
    rewards = jnp.stack([tb.Rn, tb.Rn * np.nan, tb.Rn * np.inf])
    rows = coax.reward_tracing.TransitionBatch(*(None if x is None else np.stack([x] * 3) for x in tb))
    rows.Rn = rewards
    _, new = jax.vmap(apply)(states, rows)
    text = r"Sarsa: the gradient of params\['linear'\]\['b'\] was not finite .* 2 of 3 seeds"
    with pytest.raises(RuntimeError, match=text):
        coax.check(new)
    w, before = (np.array(s[q]["params"]["linear"]["w"]) for s in (new, states))
    np.testing.assert_array_equal(w[1:], before[1:])
    assert np.abs(w[0] - before[0]).max() > 1e-3


# --- fresh states of copies


def test_numbers_that_were_set_on_a_copy_stay_its_own():
    q = coax.Q(linear, LAKE, random_seed=0)
    pi = coax.EpsilonGreedy(q, epsilon=0.5)
    greedy = pi.copy()
    greedy.epsilon = 0.0
    for keep in ((), (pi,), (greedy,)):
        states = coax.transform(lambda: None, over=(pi, greedy)).init(KEY, keep=keep)
        assert [float(states[obj]["epsilon"]) for obj in (pi, greedy)] == [0.5, 0.0]


def test_a_copy_that_is_kept_does_not_become_the_origin():
    student = coax.Q(linear, LAKE, random_seed=0)
    teacher = student.copy()
    teacher.params = jax.tree.map(jnp.ones_like, teacher.params)
    states = coax.transform(lambda: None, over=(student, teacher)).init(KEY, keep=teacher)
    assert np.all(np.array(states[teacher]["params"]["linear"]["w"]) == 1)
    fresh = student.init(jax.random.fold_in(KEY, 0))
    np.testing.assert_array_equal(states[student]["params"]["linear"]["w"], fresh["params"]["linear"]["w"])


# --- what cannot be undone is refused inside


def test_parts_cannot_be_exchanged_inside():
    q = coax.Q(linear, LAKE, random_seed=0)
    updater = sarsa(q)
    optimizer, seed = updater.optimizer, q.random_seed

    def exchange_optimizer():
        updater.optimizer = optax.sgd(0.1)

    def exchange_seed():
        q.random_seed = 3

    def build():
        coax.EpsilonGreedy(q)

    for change in (exchange_optimizer, exchange_seed, build):
        with pytest.raises(coax.errors.StateError, match=r"(Sarsa|Q).* inside a compiled function would be done once"):
            coax.jit(change, over=updater)()
    assert (updater.optimizer, q.random_seed) == (optimizer, seed)


# --- small print


def test_apply_does_not_pose_as_the_function_it_was_made_of():
    counter = Counter()
    init, apply = coax.transform(counter.step, over=counter)
    out, states = jax.jit(apply, donate_argnums=0)(init(KEY))
    assert (int(out), int(states[counter]["n"])) == (0, 1)
    assert apply.__doc__ == Counter.step.__doc__


def test_lifted_functions_and_states_can_be_stored_and_copied():
    counter = Counter()
    step = coax.jit(counter.step, over=counter)
    step()
    twin = coax.utils.loads(coax.utils.dumps(step))
    assert [int(twin()), int(twin()), int(step())] == [1, 2, 1]
    same = copy.deepcopy(step)
    assert [int(same()), int(step())] == [2, 3]
    states = coax.transform(counter.step, over=counter).init(KEY)
    other, stored = coax.utils.loads(coax.utils.dumps((counter, states)))
    assert int(stored[other]["n"]) == 0


def test_arguments_of_the_wrong_kind_are_named():
    counter = Counter()
    with pytest.raises(TypeError, match=r"over: expected coax.Stateful objects, got NoneType"):
        coax.jit(counter.step, over=None)
    with pytest.raises(TypeError, match=r"key: expected a key, got int. Fix: pass jax.random.key\(0\)"):
        coax.transform(counter.step, over=counter).init(0)
    with pytest.raises(TypeError, match=r"check: expected the states of a coax.transform, got Counter"):
        coax.check(counter)
    with pytest.raises(TypeError, match=r"scan: expected a function as the body, got int"):
        coax.scan(3, counter.step, over=counter)


def test_a_body_that_cannot_be_remembered_is_compiled_each_time():
    @dataclasses.dataclass
    class Body:
        counter: Counter

        def __call__(self):
            return self.counter.step()

    counter = Counter()
    assert coax.scan(Body(counter), 3, over=counter).tolist() == [0, 1, 2]
