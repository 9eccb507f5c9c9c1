"""The latest few files of a run."""

import pytest

import coax
from coax.checkpoint import Checkpointer, CheckpointError
from tests.counter import Counter


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_keeps_the_latest(tmp_path):
    checkpointer, counter = Checkpointer(tmp_path / "run", keep=2, every=10), Counter()
    assert checkpointer.restore_latest(counter=counter) is None
    written = []
    for t in range(35):
        counter.step()
        path = checkpointer.save(t, counter=counter)
        written += [] if path is None else [(t, path.name)]
    assert written == [(t, f"step-{t:012d}.safetensors") for t in (10, 20, 30)]
    assert names(tmp_path / "run") == ["step-000000000020.safetensors", "step-000000000030.safetensors"]
    assert (checkpointer.step, checkpointer.steps) == (30, [20, 30])

    again, other = Checkpointer(tmp_path / "run", keep=2, every=10), Counter()
    assert again.restore_latest(counter=other) == {"counter": other}
    assert (again.step, other.n) == (30, 31)  # it had counted 0, ..., 30
    assert again.save(39, counter=other) is None
    assert again.save(40, counter=other) is not None
    assert again.steps == [30, 40]


def test_a_damaged_file_is_skipped(tmp_path):
    checkpointer, counter = Checkpointer(tmp_path), Counter()
    for t in (1, 2, 3):
        counter.step()
        checkpointer.save(t, counter=counter, loop={"t": t})
    for t, content in ((3, b""), (2, b"PK\x03\x04" * 99)):
        (tmp_path / f"step-{t:012d}.safetensors").write_bytes(content)
    again, other = Checkpointer(tmp_path), Counter()
    with pytest.warns(
        UserWarning, match=r"step-00000000000[23].safetensors: .* It was skipped, and is .*\.damaged now"
    ):
        found = again.restore_latest(counter=other, loop={"t": 0})
    assert (found["loop"], again.step, other.n) == ({"t": 1}, 1, 1)
    assert names(tmp_path) == [f"step-00000000000{t}.safetensors{'.damaged' * (t > 1)}" for t in (1, 2, 3)]
    again.save(2, counter=other, loop={"t": 2})  # the run goes on from there
    assert again.steps == [1, 2]


def test_what_is_no_file_is_no_checkpoint(tmp_path):
    checkpointer, counter = Checkpointer(tmp_path), Counter()
    checkpointer.save(1, counter=counter)
    (tmp_path / "step-000000000002.safetensors").mkdir()
    (tmp_path / "step-000000000003.safetensors").symlink_to(tmp_path / "nowhere")
    assert checkpointer.steps == [1]
    assert Checkpointer(tmp_path).restore_latest(counter=counter) == {"counter": counter}


def test_a_damaged_file_that_cannot_be_renamed(tmp_path, monkeypatch):
    checkpointer, counter = Checkpointer(tmp_path), Counter()
    checkpointer.save(1, counter=counter)
    (tmp_path / "step-000000000002.safetensors").write_bytes(b"x")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)  # as in a folder that is for reading only
    with pytest.warns(UserWarning, match=r"It was skipped, and stays where it is \(.*Permission denied"):
        assert Checkpointer(tmp_path).restore_latest(counter=counter) == {"counter": counter}


def test_a_file_that_another_process_deletes(tmp_path, monkeypatch):
    checkpointer, counter = Checkpointer(tmp_path), Counter()
    for t in (1, 2):
        checkpointer.save(t, counter=counter)
    load = coax.load

    def too_late(path, **objects):
        if "2" in path.name:
            path.unlink()
        return load(path, **objects)

    monkeypatch.setattr("coax.checkpoint._checkpointer.load", too_late)
    again = Checkpointer(tmp_path)
    with pytest.warns(UserWarning, match=r"No such file.*2\.safetensors.*It was skipped"):
        assert again.restore_latest(counter=counter) == {"counter": counter}
    assert again.step == 1


def test_none_that_is_good(tmp_path):
    (tmp_path / "step-000000000001.safetensors").write_bytes(b"x")
    counter = Counter()
    with pytest.warns(UserWarning, match="skipped"):
        assert Checkpointer(tmp_path).restore_latest(counter=counter) is None
    assert counter.n == 0


def test_what_does_not_fit_is_not_skipped(tmp_path):
    Checkpointer(tmp_path).save(1, loop={"t": 0})
    with pytest.raises(CheckpointError, match=r"loop\['t'\]: expected a float"):
        Checkpointer(tmp_path).restore_latest(loop={"t": 0.5})
    assert names(tmp_path) == ["step-000000000001.safetensors"]


def test_two_runs_in_one_folder(tmp_path):
    Checkpointer(tmp_path, keep=1).save(100, x=1)
    with pytest.raises(
        CheckpointError, match=r"expected no files of later steps than 1, got one of 100.*restore_latest"
    ):
        Checkpointer(tmp_path, keep=1).save(1, x=2)
    with pytest.raises(CheckpointError, match="expected no files of later steps than 99"):
        Checkpointer(tmp_path, keep=1).save(99, x=2)
    assert coax.load(tmp_path / "step-000000000100.safetensors", x=0) == {"x": 1}
    assert Checkpointer(tmp_path).save(100, x=3) is not None
    assert coax.load(tmp_path / "step-000000000100.safetensors", x=0) == {"x": 3}


def test_other_files_are_left_alone(tmp_path):
    for name in (
        "step-1.safetensors",
        "step-000000000001.safetensors.damaged",
        "notes",
        "step-00000000000x.safetensors",
    ):
        (tmp_path / name).write_bytes(b"mine")
    before = names(tmp_path)
    checkpointer = Checkpointer(tmp_path, keep=1)
    checkpointer.save(1, x=1)
    checkpointer.save(2, x=2)
    assert checkpointer.restore_latest(x=0) == {"x": 2}
    assert names(tmp_path) == sorted([*before, "step-000000000002.safetensors"])


def test_after_an_error_it_is_due_again(tmp_path):
    checkpointer = Checkpointer(tmp_path, every=10)
    with pytest.raises(CheckpointError, match="expected arrays"):
        checkpointer.save(10, x=open)
    assert checkpointer.step == 0
    assert checkpointer.save(11, x=1) is not None


def test_arguments():
    for name in ("keep", "every"):
        with pytest.raises(ValueError, match=rf"{name}: expected at least 1, got 0"):
            Checkpointer("x", **{name: 0})
        with pytest.raises(TypeError, match=name):
            Checkpointer("x", **{name: 1.5})
    with pytest.raises(TypeError, match=r"step: expected an integer, got 1\.5\. Fix: pass for instance env\.T"):
        Checkpointer("x").save(1.5, x=1)
    with pytest.raises(ValueError, match="step: expected at least 0, got -1"):
        Checkpointer("x").save(-1, x=1)


def test_the_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpointer = Checkpointer("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    checkpointer.save(1, x=1)
    assert names(tmp_path / "run") == ["step-000000000001.safetensors"]
    assert checkpointer.restore_latest(x=0) == {"x": 1}
