import os
import stat

import jax
import jax.numpy as jnp
import lz4.frame
import numpy as np
import pytest

from coax.utils import dump, dumps, jit, load, loads


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "folder" / "x.pkl.lz4"
    dump({"a": np.arange(3), "f": lambda x: x + 1}, path)
    back = load(str(path))
    assert back["a"].tolist() == [0, 1, 2]
    assert back["f"](2) == 3
    assert os.listdir(path.parent) == ["x.pkl.lz4"]
    assert lz4.frame.decompress(path.read_bytes())


def test_references_survive_inside_one_dump():
    shared = [1]
    a, b = loads(dumps((shared, {"again": shared})))
    assert a is b["again"]


def test_a_failing_dump_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pkl.lz4"
    dump(1, path)
    with pytest.raises(TypeError):
        dump((x for x in "generators cannot be pickled"), path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        dump(2, path)
    assert load(path) == 1
    assert os.listdir(tmp_path) == ["x.pkl.lz4"]


def test_files_have_the_usual_permissions(tmp_path):
    dump(1, tmp_path / "dumped")
    (tmp_path / "usual").write_bytes(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("dumped", "usual")]
    assert modes[0] == modes[1]


def test_a_jitted_function_survives():
    k = jnp.float32(3)
    f = loads(dumps(jit(lambda x, n: k * x**n, static_argnums=1)))
    assert f(jnp.float32(2), 2) == 12
    assert f.static_argnums == 1


def test_keys_and_arrays_survive():
    key = jax.random.key(3)
    back = loads(dumps((jax.random.key_data(key), jnp.ones(2, jnp.bfloat16))))
    np.testing.assert_array_equal(back[0], jax.random.key_data(key))
    assert back[1].dtype == jnp.bfloat16
