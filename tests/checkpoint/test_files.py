"""What a file is: the layout, what goes into it and comes out, and that it appears at once or not at all."""

import fcntl
import json
import os
import subprocess
import sys
import textwrap
import zlib

import jax
import jax.numpy as jnp
import lz4.frame
import ml_dtypes
import numpy as np
import pytest
import safetensors

import coax
from coax.checkpoint import CheckpointError, DamagedFileError
from coax.utils import Rows, replacing


def saved(path, **objects):
    coax.save(path, **objects)
    return path.read_bytes()


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_the_layout_by_hand(tmp_path):
    data = saved(tmp_path / "file", x={"b": np.array([1, -2], np.int16), "a": 2.5, "c": np.float32([[1.5]])})
    end = 8 + int.from_bytes(data[:8], "little")
    assert end % 64 == 0  # arrays begin where a processor likes them
    # 1 and -2 in two bytes each, the lower one first; 1.5 = 0x3fc00000
    assert data[end:] == bytes([1, 0, 0xFE, 0xFF, 0, 0, 0xC0, 0x3F])
    header = json.loads(data[8:end])
    assert header["0"] == {"dtype": "I16", "shape": [2], "data_offsets": [0, 4]}
    assert header["1"] == {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]}
    description = json.loads(header["__metadata__"]["coax"])
    assert description["format"] == 1
    assert description["versions"] == {"coax": coax.__version__, "jax": jax.__version__}
    assert description["objects"]["x"]["tree"] == {
        "dict": [["b", {"array": 0}], ["a", {"float": "0x1.4000000000000p+1"}], ["c", {"array": 1}]]
    }
    assert [one["crc32"] for one in description["arrays"]] == [zlib.crc32(data[end : end + 4]), zlib.crc32(data[-4:])]
    crc = header["__metadata__"]["crc32"]
    assert int(crc, 16) == zlib.crc32(data[:end].replace(crc.encode(), b"00000000", 1))


def test_another_library_reads_the_arrays(tmp_path):
    x = {"a": np.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16), "c": np.array(True), "d": np.zeros((0, 4))}
    saved(tmp_path / "file", x=x, y=jax.random.key(7))
    with safetensors.safe_open(tmp_path / "file", framework="np") as file:
        assert sorted(file.keys()) == ["0", "1", "2", "3", "4"]
        np.testing.assert_array_equal(file.get_tensor("0"), x["a"])
        assert file.get_tensor("2").item() is True
        assert file.get_tensor("3").shape == (0, 4)
        np.testing.assert_array_equal(file.get_tensor("4"), [0, 7])


TREES = {
    "numbers": {"a": 3, "b": -(2**80), "c": 0.1, "d": True, "e": "é\n\x00\"'", "f": None, "g": float("-inf")},
    "nested": [(), [], {}, ((1,), [np.zeros(2)], {3: "x", 4: (None,)})],
    "scalars": (np.float32(0.1), np.int8(-5), np.bool_(True), np.float64(5e-324)),
    "empty": [np.zeros((0, 3), np.int32), np.zeros((2, 0)), np.zeros(())],
    "strided": [np.arange(24.0).reshape(4, 6)[::2, ::-3], np.asfortranarray(np.arange(6).reshape(2, 3))],
    "large": [np.zeros((3, 10**6), np.uint8), np.arange(2 * 10**6), np.random.default_rng(0).random((5, 10**6))],
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("given", ["a tree like it", "none"])
def test_trees(name, given, tmp_path):
    tree = TREES[name]
    saved(tmp_path / "file", x=tree, y=0)
    like = jax.tree.map(lambda x: x * 0 if hasattr(x, "dtype") and x.dtype != bool else x, tree)
    loaded = coax.load(tmp_path / "file", x=None if given == "none" else like, y=...)
    assert loaded.keys() == {"x"}
    assert jax.tree.structure(loaded["x"]) == jax.tree.structure(tree)
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(loaded["x"]), strict=True):
        assert type(x) is type(y)
        np.testing.assert_array_equal(x, y, strict=hasattr(x, "dtype"))


def test_not_a_number(tmp_path):
    payload = np.array([0x7FF8000000000123], np.uint64).view(np.float64)  # what else a NaN says is kept
    saved(tmp_path / "file", x={"a": float("nan"), "b": payload})
    x = coax.load(tmp_path / "file", x=None)["x"]
    assert np.isnan(x["a"])
    assert x["b"].tobytes() == payload.tobytes()


@pytest.mark.parametrize(
    "dtype", [name for name in dir(ml_dtypes) if name.startswith(("bf", "float8", "int4", "uint4"))]
)
def test_small_numbers(dtype, tmp_path):
    dtype = np.dtype(getattr(ml_dtypes, dtype))
    x = np.arange(4).astype(dtype)
    try:
        saved(tmp_path / "file", x=x)
    except CheckpointError as err:
        assert f"x: expected numbers, got an array of {dtype}. Fix:" in str(err)  # noqa: PT017 - few have no name
        assert dtype.name in ("float8_e3m4", "float8_e4m3", "float8_e8m0fnu")
        return
    found = coax.load(tmp_path / "file", x=x)["x"]
    assert found.dtype == dtype
    assert found.tobytes() == x.tobytes()


def test_leaves_of_jax_stay_so(tmp_path):
    q = {"x": jnp.arange(3), "key": jax.random.split(jax.random.key(1), 2), "rbg": jax.random.key(3, impl="rbg")}
    saved(tmp_path / "file", q=q)
    found = coax.load(tmp_path / "file", q=q)["q"]
    assert all(isinstance(x, jax.Array) for x in found.values())
    assert {name: x.dtype for name, x in found.items()} == {name: x.dtype for name, x in q.items()}
    assert jax.random.bits(found["key"][1]) == jax.random.bits(q["key"][1])
    assert jax.random.bits(found["rbg"]) == jax.random.bits(q["rbg"])
    assert isinstance(coax.load(tmp_path / "file", q=None)["q"]["x"], jax.Array)


def test_wide_numbers_of_jax_need_wide_numbers(tmp_path):
    with jax.enable_x64(True):
        saved(tmp_path / "file", x=jnp.arange(3.0, dtype=jnp.float64))
        assert coax.load(tmp_path / "file", x=None)["x"].dtype == np.float64
    with pytest.raises(
        CheckpointError, match=r"at most 32 bits, the file has an array of JAX of float64.*Fix: jax.con"
    ):
        coax.load(tmp_path / "file", x=None)


def test_on_the_devices_where_it_was(tmp_path):
    device = jax.devices()[-1]
    x = jax.device_put(jnp.arange(3.0), device)
    saved(tmp_path / "file", x=x, y=jnp.zeros(2))
    found = coax.load(tmp_path / "file", x=x, y=jnp.zeros(2))
    assert found["x"].sharding == x.sharding
    assert found["x"].committed
    assert not found["y"].committed  # else a function that is compiled already would be compiled once more


# --- what helps is compressed -----------------------------------------------------------------------------------------


def test_only_what_becomes_much_smaller_is_compressed(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.zeros((100, 84, 84), np.uint8)
    frames[:, 40:44, 10:70] = 200
    x = {"noise": rng.integers(256, size=705_600, dtype=np.uint8), "frames": frames, "few": np.zeros(100)}
    data = saved(tmp_path / "file", x=x)
    table = header_of(data)
    arrays = json.loads(table["__metadata__"]["coax"])["arrays"]
    assert [one["lz4"] for one in arrays] == [False, True, False]
    start, stop = table["1"]["data_offsets"]
    assert stop - start < frames.nbytes / 20
    found = coax.load(tmp_path / "file", x=x)["x"]
    for name in x:
        np.testing.assert_array_equal(found[name], x[name])
    base = 8 + int.from_bytes(data[:8], "little")
    assert lz4.frame.decompress(data[base + start : base + stop]) == frames.tobytes()


def test_rows_are_read_in_pieces(tmp_path):
    x, asked = np.random.default_rng(0).random((1000, 10_000), np.float32), []

    def read(start, stop):
        asked.append((start, stop))
        return x[start:stop]

    rows = Rows(x.shape, x.dtype, read)
    np.testing.assert_array_equal(np.asarray(rows), x)
    del asked[:]
    saved(tmp_path / "file", x=rows)
    # 40,000 bytes a row: 104 of them in 4 MiB; first a few to see whether to compress
    assert asked == [(0, 1), *((k, min(k + 104, 1000)) for k in range(0, 1000, 104))]
    np.testing.assert_array_equal(coax.load(tmp_path / "file", x=None)["x"], x)


# --- at once or not at all --------------------------------------------------------------------------------------------


def test_an_error_leaves_the_older_file(tmp_path):
    def fail(start, stop):
        raise KeyboardInterrupt

    path = tmp_path / "new folder" / "file"
    saved(path, x=1)
    with pytest.raises(KeyboardInterrupt):
        coax.save(path, x=[np.zeros(10**6), Rows((9, 9), np.float32, fail)])
    assert coax.load(path, x=0)["x"] == 1
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(OSError, match="expected a file or nothing, got something else that is there"):
            saved(tmp_path / name, x=1)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_a_link_stays_a_link(tmp_path):
    saved(tmp_path / "file", x=1)
    (tmp_path / "link").symlink_to("file")
    saved(tmp_path / "link", x=2)
    assert (tmp_path / "link").is_symlink()
    assert coax.load(tmp_path / "file", x=0)["x"] == 2


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    names = [f".file.{'0' * 31}{i}.part" for i in range(3)]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (1, 1))
    os.utime(tmp_path / names[2])  # somebody may have opened it just now
    (tmp_path / ".of somebody else.part").write_bytes(b"")
    os.utime(tmp_path / ".of somebody else.part", (1, 1))
    with open(tmp_path / names[1]) as being_written:
        fcntl.flock(being_written, fcntl.LOCK_EX)
        saved(tmp_path / "file", x=1)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"file", names[1], names[2], ".of somebody else.part"}


def test_what_is_being_written_is_left_alone(tmp_path):
    """However long it takes."""
    with replacing(tmp_path / "file") as file:
        file.write(b"slow")
        (part,) = tmp_path.iterdir()
        os.utime(part, (1, 1))
        with replacing(tmp_path / "other") as other:
            other.write(b"fast")
        assert sorted(tmp_path.iterdir()) == [part, tmp_path / "other"]
    assert (tmp_path / "file").read_bytes() == b"slow"


FULL_DISK = """
    import numpy as np, pathlib, resource, signal, sys
    import coax

    path = pathlib.Path(sys.argv[1])
    coax.save(path, x=np.arange(1000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        coax.save(path, x=np.random.default_rng(0).random(1 << 20))
    except OSError as err:
        print(err)
    print(coax.load(path, x=None)["x"].sum(), [each.name for each in path.parent.iterdir()])
"""


@pytest.mark.gate
def test_a_file_that_may_not_grow(tmp_path):
    """The system refuses to write more, as it does when the disk is full."""
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "file")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "File too large" in out
    assert f"{tmp_path / 'file'} was not written; an older file of that name is as it was" in out
    assert "499500 ['file']" in out


@pytest.mark.gate
def test_a_full_disk(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    try:
        path = tmp_path / "file"
        saved(path, x=np.arange(1000))
        with pytest.raises(OSError, match=r"No space left on device: .*file was not written; an older file"):
            coax.save(path, x=np.random.default_rng(0).random(1 << 20))
        assert coax.load(path, x=None)["x"].sum() == 499_500
        assert [each.name for each in tmp_path.iterdir()] == ["file"]
        saved(path, x=np.arange(10))
        assert coax.load(path, x=None)["x"].sum() == 45
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        coax.load(tmp_path / "none", x=1)
    for content in (b"", b"12345678", b"x" * 1000, (2**63).to_bytes(8, "little") + b"{}"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"file: .*damaged, or no checkpoint of coax\. Fix: load an older"):
            coax.load(tmp_path / "file", x=1)
