"""What ``test_several_devices.py`` runs in processes of their own, and the runs that it compares.

``python -m tests.several_devices FILE WHAT...`` does each thing on one device and on two, and writes the numbers of
both to the file, under the names ``<what>|one|<leaf>`` and ``<what>|two|<leaf>``. It prints, as JSON, how things lay on
the devices. With ``--process I ADDRESS`` it is one of two processes with one device each, and writes its numbers alone.
"""

import json
import re
import sys

import haiku as hk
import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import coax
from tests.learners import LEARNERS, B
from tests.pages import blocks

STEPS = 3
PAGE = "guides/several_devices"

found, facts = {}, {}


def layouts():
    """All on each device, and a part on each."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))


def as_it_is(tree):
    return tree


# --- what is compared


def numbers(tree):
    """The leaves by their names as NumPy arrays, keys as what they consist of."""

    def leaf(x):
        is_key = isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x)

    return {jax.tree_util.keystr(path): leaf(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def keep(what, how, tree, where=found):
    """Take down the numbers of a tree."""
    where.update({f"{what}|{how}|{name}": x for name, x in numbers(tree).items()})


def pure_steps(name, place=as_it_is, share=as_it_is):
    """Some updates with the pure function: ``(outputs, states, batch, compiled)``, the last two of the last step."""
    learn, over, batch = LEARNERS[name]()
    init, apply = coax.transform(learn, over=over)
    states, outs = place(init(jax.random.key(3))), []
    step = jax.jit(apply).lower(states, share(batch(0))).compile()
    for i in range(STEPS):
        rows = share(batch(i))
        out, states = step(states, rows)
        outs.append(out)
    coax.check(states)
    return outs, states, rows, step


def steps_of_objects(place=as_it_is, share=as_it_is):
    """The same with the objects themselves, compiled together and each for itself: ``(outputs, objects)``."""
    learn, over, batch = LEARNERS["dqn"]()
    qlearning, q_targ = over
    objs = list(coax.transform(learn, over=over).init(jax.random.key(0)))
    for obj in objs:
        obj.state = place(obj.state)
    held = [obj.state for obj in objs]
    before = numbers(held)
    together = coax.jit(learn, over=over)
    outs = [together(share(batch(i))) for i in range(STEPS)]
    for i in range(STEPS):
        outs.append(qlearning.update(share(batch(i)), wait=True))
        q_targ.soft_update(qlearning.q, tau=0.5)
    outs += [dict(outs[-1]), qlearning.q(np.zeros(3)), qlearning.rng, coax.EpsilonGreedy(qlearning.q, 0.0)(np.ones(3))]
    jax.tree.map(np.testing.assert_array_equal, numbers(held), before)  # what somebody holds is not donated
    return outs, objs


# --- how things lie on the devices


def collectives(compiled):
    """What moves between devices, and how many numbers of an array at most."""
    most = {}
    for result, name in re.findall(r"= (.+?) (all-\w+|collective-\w+|reduce-scatter)(?:-start)?\(", compiled.as_text()):
        sizes = [int(np.prod([int(n) for n in shape.split(",") if n])) for shape in re.findall(r"\[([\d,]*)\]", result)]
        most[name] = max([most.get(name, 0), *sizes])
    return most


def replicated(tree):
    return all(x.sharding.is_fully_replicated and len(x.sharding.device_set) == 2 for x in jax.tree.leaves(tree))


def halves(tree):
    """Whether each device holds one half of each leaf, along the first axis."""
    return all(
        [shard.data.shape[0] for shard in x.addressable_shards] == [x.shape[0] // 2] * 2 for x in jax.tree.leaves(tree)
    )


# --- two devices


def sharded_batches(name, what):
    """Updates from batches on one device, and from the same batches over both."""
    whole, rows = layouts()
    outs, states, _, _ = pure_steps(name)
    keep(what, "one", (outs, states))
    outs, states, batch, step = pure_steps(name, lambda x: jax.device_put(x, whole), lambda x: jax.device_put(x, rows))
    keep(what, "two", (outs, states))
    facts[what] = {
        "collectives": collectives(step),
        "outputs are replicated": replicated((outs, states)),
        "batches are halves": halves(batch),
        "dtype": str(jax.tree.leaves(outs[0][0])[0].dtype),
    }


def sharded_seeds(name, what):
    """Four seeds, two on each device, and each of them alone."""
    whole, by_seed = layouts()
    learn, over, batch = LEARNERS[name]()
    init, apply = coax.transform(learn, over=over)
    keys = jax.random.split(jax.random.key(5), 4)
    seeds = jax.device_put(jax.vmap(init)(keys), by_seed)
    every = jax.jit(jax.vmap(apply, in_axes=(0, None))).lower(seeds, jax.device_put(batch(0), whole)).compile()
    alone = jax.jit(apply)
    ones = [init(key) for key in keys]
    for i in range(STEPS):
        out, seeds = every(seeds, jax.device_put(batch(i), whole))
        each = [alone(one, batch(i)) for one in ones]
        ones = [one for _, one in each]
    keep(what, "two", numbers((out, seeds)))
    keep(what, "one", jax.tree.map(lambda *xs: np.stack(xs), *map(numbers, each)))
    coax.check(seeds)
    facts[what] = {"collectives": collectives(every), "seeds are halves": halves((out, seeds))}


def sharded_loops(what):
    """Whole loops of four seeds, environments and replay with them, two on each device; and each seed alone."""
    _, by_seed = layouts()
    env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), 2, max_episode_steps=20, random_seed=1)
    q = coax.Q(lambda S, is_training: hk.Linear(2)(S), env, random_seed=1)
    pi = coax.EpsilonGreedy(q, epsilon=0.3)
    tracer = coax.reward_tracing.DeviceNStep(2, 0.9, env)
    buffer = coax.experience_replay.DeviceReplayBuffer(64, env, random_seed=1)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.01))
    over = (env, pi, tracer, buffer, qlearning)

    def act():
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A := pi(env.observation))
        buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))

    def step():
        act()
        return qlearning.update(buffer.sample(8))["QLearning/loss"]

    def train():
        coax.scan(act, 10, over=over)
        return coax.scan(step, 30, over=over), coax.training.evaluate(env, pi.mode, 3, seed=0).returns

    init, apply = coax.transform(train, over=over)
    keys = jax.random.split(jax.random.key(5), 4)
    out, seeds = jax.jit(jax.vmap(apply))(jax.device_put(jax.vmap(init)(keys), by_seed))
    keep(what, "two", numbers((out, seeds)))
    alone = jax.jit(apply)
    keep(what, "one", jax.tree.map(lambda *xs: np.stack(xs), *(numbers(alone(init(key))) for key in keys)))
    facts[what] = {"seeds are halves": halves((out, seeds))}


def sharded_objects(what):
    """A Python loop on one device, and on two; and what goes wrong there."""
    whole, rows = layouts()
    outs, objs = steps_of_objects()
    keep(what, "one", (outs, [obj.state for obj in objs]))
    outs, objs = steps_of_objects(lambda x: jax.device_put(x, whole), lambda x: jax.device_put(x, rows))
    keep(what, "two", (outs, [obj.state for obj in objs]))
    facts[what] = {"states are replicated": replicated([obj.state for obj in objs])}

    *_, qlearning = (obj for obj in objs if isinstance(obj, coax.td_learning.QLearning))
    bad, before = LEARNERS["dqn"]().batch(2), numbers(qlearning.q.state)
    bad.Rn[B - 1] = np.nan  # on the second device alone
    facts[what]["not finite"] = error_of(lambda: qlearning.update(jax.device_put(bad, rows), wait=True))
    facts[what]["nothing changed"] = all(map(np.array_equal, numbers(qlearning.q.state).values(), before.values()))
    for obj in objs:
        obj.state = jax.device_put(jax.device_get(obj.state), jax.devices()[0])
    good = jax.device_put(LEARNERS["dqn"]().batch(2), rows)
    facts[what]["state on one device"] = error_of(lambda: qlearning.update(good))


def error_of(call):
    try:
        call()
    except Exception as error:  # whatever it is, the test says what it should be
        return f"{type(error).__name__}: {error}"
    return ""


def code_of_the_page():
    """The code on the page: what comes together, and the program for several processes."""
    codes = [code for _, code in blocks(PAGE)]
    (program,) = (code for code in codes if "jax.distributed" in code)
    return "\n".join(code for code in codes if code is not program), program


def page(what):
    """The code on the page with one device, and with two."""
    code, _ = code_of_the_page()
    assert "jax.device_count()" in code
    for how, n in (("one", 1), ("two", 2)):
        names = {}
        exec(compile(code.replace("jax.device_count()", str(n)), PAGE, "exec"), names)
        parts = [names[name].state for name in ("q", "q_targ", "qlearning")]
        keep(what, how, (names["states"], names["seeds"], parts))
    facts[what] = {
        "states are replicated": replicated((names["states"], parts)),
        "seeds are halves": halves(names["seeds"]),
    }


# --- two processes, with one device each


def one_of_two_processes(index, address):
    jax.distributed.initialize(address, num_processes=2, process_id=index)
    whole, rows = layouts()
    everywhere = jax.jit(as_it_is, out_shardings=whole)
    mine = slice(index * B // 2, (index + 1) * B // 2)

    def share(batch):
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, x[mine]), batch)

    for x64 in (True, False):
        with jax.enable_x64(x64):
            outs, states, batch, step = pure_steps("dqn", everywhere, share)
            what = f"dqn {'x64' if x64 else 'f32'}"
            keep(what, "two", (outs, states))
            facts[what] = {
                "collectives": collectives(step),
                "rows here": [len(s.data) for s in batch.S.addressable_shards],
            }
    outs, objs = steps_of_objects(everywhere, share)
    keep("objects", "two", (outs, [obj.state for obj in objs]))
    facts["devices"] = [device.id for device in jax.devices()]
    jax.distributed.shutdown()


def main(file, *wanted):
    if wanted[0] == "--process":
        one_of_two_processes(int(wanted[1]), wanted[2])
    for name in LEARNERS if wanted[0] != "--process" else ():
        for x64 in (True, False) if name in wanted else ():
            with jax.enable_x64(x64):
                sharded_batches(name, f"{name} {'x64' if x64 else 'f32'}")
        if f"seeds {name}" in wanted:
            sharded_seeds(name, f"seeds {name}")
    for name, run in (("objects", sharded_objects), ("loops", sharded_loops), ("page", page)):
        if name in wanted:
            run(name)
    np.savez(file, **found)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
