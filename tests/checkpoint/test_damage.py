"""Files that are not as they were written, by accident or on purpose: refused, and nothing in them is run."""

import copy
import io
import json
import pathlib
import pickle
import random
import tracemalloc
import zipfile
import zlib

import gymnasium
import lz4.frame
import numpy as np
import pytest

import coax
from coax.checkpoint import CheckpointError, DamagedFileError
from coax.checkpoint._held import as_generator
from tests.checkpoint.everything import assert_same
from tests.counter import Counter


def objects(seed):
    """Of each kind one, all of which hold something."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("MountainCar-v0"))
    env.reset(seed=seed)
    env.step(1)
    tracer = coax.reward_tracing.NStep(n=3, gamma=0.9)
    tracer.add(np.zeros(2, np.float32), 1, 0.5, False)
    buffer = coax.experience_replay.PrioritizedReplayBuffer(4, random_seed=seed)
    batch = coax.utils.get_transition_batch(env, batch_size=3, random_seed=seed)
    buffer.add(batch, np.arange(3.0))
    noise = coax.utils.OrnsteinUhlenbeckNoise(random_seed=seed)
    noise(np.zeros(2))
    data = {"a": np.arange(20.0), "b": np.zeros(9000), "c": [1, 2.5, "x", None, (True, np.float32(3))]}
    found = {"env": env, "tracer": tracer, "buffer": buffer, "noise": noise, "data": data, "counter": Counter()}
    return found


def snapshot(objs):
    states = [obj.state for obj in objs.values() if isinstance(obj, coax.Stateful)]
    del states[0]["seconds"]  # of the monitor: time goes on
    car = objs["env"].unwrapped
    words = str(car.np_random.bit_generator.state).encode()
    return states, np.array([*car.state, objs["env"].env._elapsed_steps]), np.frombuffer(words, np.uint8)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "file"
    coax.save(path, **objects(1))
    return path.read_bytes()


def tried(path, data, objs):
    """Load it. What was raised, if anything; it must be an error of coax, and no memory may be taken for it."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        coax.load(path, **objs)
    except coax.checkpoint.CheckpointError as err:
        return err
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # a piece of a compressed array is at most 4 MiB
        assert peak < 50 * len(data) + (12 << 20)
    return None


# --- by accident ------------------------------------------------------------------------------------------------------


def flipped(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def cut(rng, data):
    return data[: rng.randrange(len(data))]


def cut_out(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randint(1, 9) :]


def zeroed(rng, data):
    at, count = rng.randrange(len(data) - 600), rng.choice([1, 16, 512])
    new = data[:at] + bytes(count) + data[at + count :]
    return new if new != data else cut(rng, data)


def longer(rng, data):
    return data + rng.randbytes(rng.randint(1, 99))


def swapped(rng, data):
    a, b = sorted(rng.sample(range(0, len(data) - 64, 32), 2))
    new = data[:a] + data[b : b + 32] + data[a + 32 : b] + data[a : a + 32] + data[b + 32 :]
    return new if new != data else cut(rng, data)


ACCIDENTS = (flipped, cut, cut_out, zeroed, longer, swapped)


@pytest.mark.parametrize("how", [*ACCIDENTS[:1], *(pytest.param(f, marks=pytest.mark.gate) for f in ACCIDENTS[1:])])
def test_damaged_by_accident(how, good, tmp_path):
    """Every one of 400 is refused."""
    rng, objs = random.Random(0), objects(2)
    before = snapshot(objs)
    for _ in range(400):
        assert type(tried(tmp_path / "file", how(rng, good), objs)) is DamagedFileError
    assert_same(before, snapshot(objs))
    assert tried(tmp_path / "file", good, objs) is None  # so that it was the damage
    assert_same(snapshot(objs), snapshot(objects(1)))


# --- on purpose: the checksums are right ------------------------------------------------------------------------------


def taken_apart(data):
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    return header, json.loads(header["__metadata__"]["coax"]), data[end:]


def put_together(header, description, body):
    header = {"__metadata__": {"crc32": "00000000", "coax": json.dumps(description)}, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    raw = len(text).to_bytes(8, "little") + text
    return signed(raw) + body


def signed(raw):
    """A header with the right checksum in place of zeros."""
    return raw.replace(b"00000000", b"%08x" % zlib.crc32(raw), 1)


def forged(header, description, body):
    return put_together({k: v for k, v in header.items() if k != "__metadata__"}, description, body)


JUNK = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**62,
    2**200,
    1.5,
    "",
    "x",
    "object",
    "O",
    "../../etc",
    [],
    [[]],
    {},
    {"array": 0},
)
JUNK += (
    {"array": 10**6},
    {"array": -1},
    {"key": 0, "impl": "fry"},
    {"int": "9" * 5000},
    {"float": "x"},
    {"dict": [[1]]},
)
JUNK += ({"node": [["a", None]]}, {"list": [["x", None]] * 3}, {"tuple": None}, {"str": 3}, [2**40, 2**40], "float64")


def places(tree, path=()):
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def changed(rng, tree):
    """A copy with some other thing in one place."""
    tree = copy.deepcopy(tree)
    *path, last = rng.choice([path for path in places(tree) if path])
    parent = tree
    for key in path:
        parent = parent[key]
    if rng.random() < 0.2 and isinstance(parent, dict):
        parent[rng.choice(["x", "__class__", "step", "_np_random", "array"])] = parent.pop(last)
    else:
        parent[last] = rng.choice(JUNK)
    return tree


def test_the_forger_can_do_it(good, tmp_path):
    assert tried(tmp_path / "file", forged(*taken_apart(good)), objects(2)) is None


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.full)])
def test_forged(count, good, tmp_path):
    """Either it says nothing else (the name of a class), or it is refused, and then nothing is changed."""
    rng, objs = random.Random(count), objects(2)
    header, description, body = taken_apart(good)
    table = {k: v for k, v in header.items() if k != "__metadata__"}
    before, refused = snapshot(objs), 0
    for i in range(count):
        if i % 4:
            data = put_together(table, changed(rng, description), body)
        else:
            data = put_together(changed(rng, table), description, body)
        if tried(tmp_path / "file", data, objs) is None:
            objs = objects(2)
        else:
            refused += 1
            assert_same(before, snapshot(objs))
    assert refused > 0.6 * count  # others gave a number, a flag or a name that is as good as the one before


SIZES = [[2**40], [2**31, 2**31], [2**61], [0, 2**61], [2**62], [-1], [1.5], ["9"], [1] * 40, None, 7, [9001], [8999]]


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_lengths_that_cannot_be(shape, i, good, tmp_path):
    """Of an array that is stored as it is, one that is compressed, and one in a buffer."""
    header, description, body = taken_apart(good)
    packed = [k for k, one in enumerate(description["arrays"]) if one["lz4"]]
    which = (0, packed[0], len(description["arrays"]) // 2)[i]
    for name in ("shape", "crc32", "dtype"):
        other = copy.deepcopy(description)
        other["arrays"][which][name] = shape
        assert isinstance(tried(tmp_path / "file", forged(header, other, body), objects(2)), CheckpointError)
    for offsets in (shape, [0, shape], [shape, shape], [shape[0] if isinstance(shape, list) else shape, 2**61]):
        other = copy.deepcopy(header)
        other[str(which)]["data_offsets"] = offsets
        assert isinstance(tried(tmp_path / "file", forged(other, description, body), objects(2)), DamagedFileError)


def test_arrays_that_do_not_follow_each_other(tmp_path):
    path = tmp_path / "file"
    coax.save(path, x=[np.arange(3.0), np.arange(3.0, 6)])
    header, description, body = taken_apart(path.read_bytes())
    crcs = [one["crc32"] for one in description["arrays"]]
    for places, body_of in (
        ([[24, 48], [0, 24]], body),
        ([[0, 24], [0, 24]], body[:24] * 2),
        ([[0, 24], [0, 24]], body),
    ):
        other, said = copy.deepcopy(header), copy.deepcopy(description)
        for i, (start, stop) in enumerate(places):
            other[str(i)]["data_offsets"] = [start, stop]
            said["arrays"][i]["crc32"] = crcs[start // 24]
        err = tried(path, forged(other, said, body_of), {"x": None})
        assert "names arrays that do not follow each other" in str(err)
    for more in ("2", "x", "-1"):
        other = {**header, more: {"dtype": "U8", "shape": [0], "data_offsets": [48, 48]}}
        err = tried(path, forged(other, description, body), {"x": None})
        assert "names arrays that do not follow each other" in str(err)


@pytest.mark.parametrize("shape", [[0, 2**61, 2**61], [0, 2**40, 2**40], [0] + [1] * 40, [0] * 70])
def test_an_empty_array_of_a_shape_that_cannot_be(shape, tmp_path):
    path = tmp_path / "file"
    coax.save(path, x=np.zeros((0, 3)))
    header, description, body = taken_apart(path.read_bytes())
    description["arrays"][0]["shape"] = header["0"]["shape"] = shape
    assert isinstance(tried(path, forged(header, description, body), {"x": None}), DamagedFileError)


def one_packed(content, nbytes):
    """A file with one compressed array, which says that it has so many bytes."""
    entry = {"dtype": "uint8", "shape": [nbytes], "crc32": zlib.crc32(content), "lz4": True}
    tree = {"class": "ndarray", "kind": "data", "tree": {"array": 0}}
    description = {"format": 1, "versions": {}, "objects": {"x": tree}, "arrays": [entry]}
    table = {"0": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    return put_together(table, description, content)


def test_frames_that_are_not_what_they_say(tmp_path):
    zeros = lz4.frame.compress(bytes(10**6))
    assert tried(tmp_path / "file", one_packed(zeros, 10**6), {"x": None}) is None
    for content, nbytes in [
        (zeros, 10**6 - 1),
        (zeros, 10**6 + 1),
        (zeros, 10**5),
        (zeros, 10**11),
        (zeros + bytes(5 << 20), 10**6),
        (zeros[:-4], 10**6),
        (zeros + b"\0", 10**6),
        (zeros + zeros, 10**6),
        (zeros[: len(zeros) // 2], 10**6),
        (bytes(5000), 10**6),
        (lz4.frame.compress(bytes(10**8)), 10**6),
        (b"", 0),
    ]:
        err = tried(tmp_path / "file", one_packed(content, nbytes), {"x": None})
        assert isinstance(err, DamagedFileError), (len(content), nbytes)


def test_one_array_for_many(good, tmp_path):
    """A small file that would be large in memory."""
    x = np.random.default_rng(0).random(10**5)
    coax.save(tmp_path / "file", x=x)
    header, description, body = taken_apart((tmp_path / "file").read_bytes())
    description["objects"]["x"]["tree"] = {"list": [[i, {"array": 0}] for i in range(500)]}
    err = tried(tmp_path / "file", forged(header, description, body), {"x": None})
    assert "its arrays are not those of its objects" in str(err)


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_trees_that_are_too_deep(depth, tmp_path):
    coax.save(tmp_path / "file", x=1)
    header, description, body = taken_apart((tmp_path / "file").read_bytes())
    description["objects"]["x"]["tree"] = "here"
    tree = '{"list":[[0,' * depth + "null" + "]]}" * depth
    text = json.dumps(description).replace('"here"', tree)
    header = json.dumps({"__metadata__": {"crc32": "00000000", "coax": text}}, separators=(",", ":")).encode()
    raw = len(header).to_bytes(8, "little") + header
    err = tried(tmp_path / "file", signed(raw) + body, {"x": None})
    assert isinstance(err, DamagedFileError)


def test_truth_values_that_are_neither(tmp_path):
    coax.save(tmp_path / "file", x=np.array([True, False]))
    header, description, _ = taken_apart((tmp_path / "file").read_bytes())
    description["arrays"][0]["crc32"] = zlib.crc32(b"\x02\x00")
    err = tried(tmp_path / "file", forged(header, description, b"\x02\x00"), {"x": None})
    assert "truth values that are neither 0 nor 1" in str(err)


# --- what other programs would run ------------------------------------------------------------------------------------


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_nothing_is_run(good, tmp_path):
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    pickle.loads(trap)
    assert (tmp_path / "sprung").exists()  # it is one
    (tmp_path / "sprung").unlink()

    objects_in_numpy, zipped = io.BytesIO(), io.BytesIO()
    np.savez(objects_in_numpy, x=np.array([Trap(tmp_path / "sprung")], object))
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("archive/data.pkl", trap)
    header, description, body = taken_apart(good)
    forgeries = []
    for name, content in (("class", "builtins.eval"), ("kind", "pickle"), ("tree", {"pickle": trap.hex()})):
        other = copy.deepcopy(description)
        other["objects"]["data"][name] = content
        forgeries.append(forged(header, other, body))
    for dtype in ("object", "O", "V8", "U4", "datetime64[s]", "<f8,<i4"):
        other = copy.deepcopy(description)
        other["arrays"][0]["dtype"] = dtype
        forgeries.append(forged(header, other, body))
    length = (len(trap)).to_bytes(8, "little")
    others = [
        trap,
        lz4.frame.compress(trap),
        objects_in_numpy.getvalue(),
        zipped.getvalue(),
        length + trap,
        good + trap,
    ]
    for data in [*others, *(each + good for each in others), *forgeries[1:]]:
        assert isinstance(tried(tmp_path / "file", data, objects(2)), CheckpointError)
    assert tried(tmp_path / "file", forgeries[0], objects(2)) is None  # the class is a word for errors
    assert not (tmp_path / "sprung").exists()


def test_an_environment_takes_data_only(good, tmp_path):
    """Methods stay what they are, and generators are those of NumPy."""
    header, description, body = taken_apart(good)
    record = dict(map(tuple, description["objects"]["env"]["tree"]["dict"]))
    attributes = record["attributes"]["dict"]
    objs = objects(2)
    for name in ("step", "reset", "observation", "__class__", "__dict__", "np_random", "unwrapped", "_smoothing"):
        attributes.append([name, {"dict": [["data", {"int": "1"}]]}])
        err = tried(tmp_path / "file", forged(header, description, body), objs)
        assert f"env.{name}: the file has it, and it is nothing that can be set" in str(err)
        attributes.pop()
    lake = gymnasium.make("FrozenLake-v1").unwrapped
    lake.reset(seed=1)
    coax.save(tmp_path / "file", env=lake)
    header, description, body = taken_apart((tmp_path / "file").read_bytes())
    for wrong in ({"str": "eval"}, {"int": "1"}, {"str": "MT19937"}, {"list": []}):
        text = json.dumps(description)
        assert text.count('{"str": "PCG64"}') == 1
        other = json.loads(text.replace('{"str": "PCG64"}', json.dumps(wrong)))
        err = tried(tmp_path / "file", forged(header, other, body), {"env": lake})
        assert "env._np_random: expected the state of a random generator" in str(err)


def lake_with(tmp_path, name, content):
    """A file in which the environment has one attribute more, or another one; and the environment."""
    lake = gymnasium.make("FrozenLake-v1").unwrapped
    lake.reset(seed=1)
    coax.save(tmp_path / "file", env=lake)
    header, description, body = taken_apart((tmp_path / "file").read_bytes())
    record = dict(map(tuple, description["objects"]["env"]["tree"]["dict"]))
    attributes = record["attributes"]["dict"]
    attributes[:] = [pair for pair in attributes if pair[0] != name] + [[name, {"dict": [content]}]]
    (tmp_path / "file").write_bytes(forged(header, description, body))
    return lake


def as_description(x):
    if isinstance(x, dict):
        return {"dict": [[key, as_description(value)] for key, value in x.items()]}
    if isinstance(x, list):
        return {"list": [[i, as_description(value)] for i, value in enumerate(x)]}
    return None if x is None else {type(x).__name__: str(x)}


@pytest.mark.parametrize(
    ("name", "tag", "x", "text"),
    [
        ("folder", "data", "../elsewhere", "the file has the name of another file, {'../elsewhere'}"),
        ("folder", "data", "/etc/passwd", "the file has the name of another file"),
        ("folder", "data", "~/.bashrc", "the file has the name of another file"),
        ("folder", "data", "C:\\x", "the file has the name of another file"),
        ("folder", "data", "https://x.org", "the file has the name of another file"),
        ("folder", "data", "coax/__init__.py", "the file has the name of another file"),  # it is there
        ("folder", "data", [{"a": "a/../../b"}], "the file has the name of another file"),
        ("folder", "deque", {"items": ["/a"], "maxlen": None}, "the file has the name of another file"),
        ("render_mode", "data", "human", "it is a setting of the environment"),
        ("spec", "data", None, "it is a setting of the environment"),
        ("metadata", "data", {"render_fps": "1"}, "nothing that can be set|it is a setting of the environment"),
        ("s", "data", "0", "expected int64, the file has '0'"),
        ("_cached_spec", "data", "x", "it is a setting of the environment"),
        ("P", "data", [0], r"expected dict, the file has \[0\]"),
        ("desc", "data", [0], "expected ndarray, the file has "),
        ("_np_random", "data", "0", "expected Generator, the file has"),
        ("action_space", "data", "0", "expected Discrete, the file has a data"),
        ("action_space", "space", None, "expected Discrete.4., the file has None"),
        ("s", "enum", ["enum", "Flag", "A"], "expected int64, the file has a enum"),
        ("new", "enum", ["os", "sys.path", "A"], r"expected nothing.*Fix: begin an episode with reset\(\), then load"),
        ("new", "enum", ["not_imported", "Kind", "A"], "expected nothing, the file has a member 'A' of not_imported"),
        ("new", "enum", ["enum", "FlagBoundary", "A"], "a member 'A' of another enumeration"),
        ("new", "enum", "A", "it says what cannot be"),
        ("_action_space", "data", "x", "expected nothing, the file has a data"),
        ("new", "text", {"dtype": "<U1", "shape": ["9"], "letters": None}, "no text"),
        ("new", "object", {"a": "b"}, "no.*object|an object"),
        ("new", "bytes", None, "no bytes"),
        ("new", "space", {"looks": "a", "generators": []}, "expected None, the file has a"),
        ("new", "deque", {"items": ["a"], "maxlen": "x"}, "no deque"),
        ("new", "same", "env.elsewhere", "does not say what it is"),
        ("new", "same", "env.P", None),
        ("desc", "same", "env.P", "expected ndarray, the file has "),
    ],
)
def test_what_an_environment_does_not_take(name, tag, x, text, tmp_path, monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])
    content = as_description(x)
    if tag == "data" and x == [0]:
        content = {"list": [[0, {"int": "0"}]]}
    lake = lake_with(tmp_path, name, [tag, content])
    before = {key: repr(value) for key, value in vars(lake).items()}
    if text is None:
        coax.load(tmp_path / "file", env=lake)
        assert lake.new is lake.P
        return
    with pytest.raises(CheckpointError, match=text):
        coax.load(tmp_path / "file", env=lake)
    assert {key: repr(value) for key, value in vars(lake).items()} == before


def test_long_names_in_deep_trees(tmp_path):
    """Each level would repeat the way to it, if the way was written out."""
    tree = {"int": "1"}
    for i in range(150):
        tree = {"dict": [[str(i) * 20_000, tree]]}
    header, description, body = taken_apart(saved(tmp_path, x=1))
    description["objects"]["x"]["tree"] = tree
    (tmp_path / "file").write_bytes(forged(header, description, body))
    tracemalloc.start()
    found = coax.load(tmp_path / "file", x=None)["x"]
    peak = tracemalloc.get_traced_memory()[1]
    with pytest.raises(CheckpointError) as caught:
        coax.load(tmp_path / "file", x=1)
    tracemalloc.stop()
    assert len(found) == 1
    assert peak < 12 * (tmp_path / "file").stat().st_size
    assert len(str(caught.value)) < 1_000


def saved(tmp_path, **objects):
    coax.save(tmp_path / "saved", **objects)
    return (tmp_path / "saved").read_bytes()


def test_states_that_no_generator_can_have():
    """NumPy takes them: it would read beside the array, or draw the same bits for ever."""
    for make, part, name, wrong in [
        (np.random.MT19937, "state", "pos", 2**30),
        (np.random.MT19937, "state", "pos", -5),
        (np.random.MT19937, "state", "key", np.zeros(624, np.uint32)),
        (np.random.Philox, None, "buffer_pos", -1),
        (np.random.Philox, None, "buffer_pos", 5),
        (np.random.PCG64, "state", "inc", 0),
        (np.random.PCG64DXSM, "state", "inc", 2),
    ]:
        state = make(0).state
        assert callable(as_generator(state, "env").random)
        (state[part] if part else state)[name] = wrong
        with pytest.raises(CheckpointError, match="env: expected the state of a random generator"):
            as_generator(state, "env")
    with pytest.raises(TypeError, match="expected the state of a generator"):
        coax.utils.generator_from_array(np.zeros(6, np.uint64))
