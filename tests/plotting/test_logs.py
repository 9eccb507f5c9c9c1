"""Logs of monitors are read back, also those of runs that were stopped and went on."""

import json

import numpy as np
import pytest

import coax
from coax.plotting import read_log
from tests.environments import one_state

HEADER = "ep,T,G,avg_r,avg_G,t,dt_ms"


def csv_of(rows, header=HEADER):
    return "".join(f"{line}\n" for line in [header, *rows])


def write(folder, text, name="run.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns(tmp_path):
    header = HEADER + ',"a,b/loss"'
    text = csv_of(["1,21,1.5,0.075,1.5,20,0.3,", "2,32,-2.0,-0.2,-0.25,10,0.3,0.5"], header)
    log = read_log(write(tmp_path, text))
    assert list(log) == ["ep", "T", "G", "avg_r", "avg_G", "t", "dt_ms", "a,b/loss"]
    assert log["T"].tolist() == [21, 32]
    assert log["G"].tolist() == [1.5, -2.0]
    np.testing.assert_array_equal(log["a,b/loss"], [np.nan, 0.5])
    assert {column.dtype for column in log.values()} == {np.dtype(float)}


def test_json_lines_say_the_same(tmp_path):
    rows = [{"ep": 1, "T": 21, "G": 1.5}, {"ep": 2, "T": 32, "G": "-Infinity", "x/loss": 0.5, "y": None}]
    log = read_log(write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "run.jsonl"))
    assert list(log) == ["ep", "T", "G", "x/loss"]
    assert log["G"].tolist() == [1.5, -np.inf]
    np.testing.assert_array_equal(log["x/loss"], [np.nan, 0.5])


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl"])
def test_every_cut(tmp_path, name):
    # wherever a kill cuts the file: the rows whose end is there
    rows = [[1, 21, 1.25], [2, 32, 10.5], [3, 43, 7.125]]
    lines = [",".join(map(str, row)) for row in rows]
    if name.endswith("l"):
        lines = [json.dumps(dict(zip(["ep", "T", "G"], row, strict=True))) for row in rows]
    whole = ("" if name.endswith("l") else "ep,T,G\n") + "".join(line + "\n" for line in lines)
    first = whole.index("\n", whole.index("21")) + 1
    for end in range(first, len(whole) + 1):
        complete = whole[:end].count("\n") - name.endswith("v")
        assert read_log(write(tmp_path, whole[:end], name))["G"].tolist() == [1.25, 10.5, 7.125][:complete]


def row_of(ep, T, G, t, dt_ms=0.3):
    return f"{ep},{T},{G},0.0,0.5,{t},{dt_ms}"


def test_rows_from_before_a_resume(tmp_path):
    # stopped after T = 60, resumed from T = 25: the rows at 40 and 60 were written before, and so was that at 30
    old = [row_of(1, 20, 1.0, 19), row_of(2, 30, 2.0, 9), row_of(3, 40, 3.0, 9), row_of(4, 60, 4.0, 19)]
    new = [row_of(2, 30, -2.0, 9), row_of(3, 45, -3.0, 14)]
    log = read_log(write(tmp_path, csv_of(old + new)))
    assert log["T"].tolist() == [20, 30, 45]
    assert log["G"].tolist() == [1, -2, -3]
    # and once more, from T = 0: that may be another run
    with pytest.warns(UserWarning, match=r"a run begins anew in it.*Fix: if these are two runs, give") as warned:
        log = read_log(write(tmp_path, csv_of([*old, *new, row_of(1, 12, 9.0, 11)])))
    assert warned[0].filename == __file__  # where it was read
    assert log["G"].tolist() == [9]


def test_a_resume_after_which_no_step_goes_back(tmp_path):
    # saved at the end of the second episode, T = 30; what was written until the kill, at 33 and 36, is of episodes that
    # are played anew, and take longer: ep goes back, T does not
    old = [row_of(1, 20, 1.0, 19), row_of(2, 30, 2.0, 9), row_of(3, 33, 3.0, 2), row_of(4, 36, 4.0, 2)]
    new = [row_of(3, 50, -3.0, 19), row_of(4, 60, -4.0, 9)]
    log = read_log(write(tmp_path, csv_of(old + new)))
    assert log["T"].tolist() == [20, 30, 50, 60]
    assert log["G"].tolist() == [1.0, 2.0, -3.0, -4.0]
    # only one row was written: ep does not go back either
    log = read_log(write(tmp_path, csv_of(old[:3] + new)))
    assert log["T"].tolist() == [20, 30, 50, 60]


def test_a_resume_whose_first_row_is_the_last_again(tmp_path):
    # stopped right after the row at T = 30 and resumed from T = 25: that episode is written again, dt_ms differs
    rows = [row_of(1, 20, 1.0, 19), row_of(2, 30, 2.0, 9), row_of(2, 30, 2.0, 9, dt_ms=0.4), row_of(3, 40, 3.0, 9)]
    assert read_log(write(tmp_path, csv_of(rows)))["T"].tolist() == [20, 30, 40]
    assert read_log(write(tmp_path, csv_of([row_of(1, 20, 1.0, 19)] * 2)))["T"].tolist() == [20]


def test_environments_that_are_done_at_once(tmp_path):
    # two environments of episodes of 9 steps each: 2 * (1 + 9) = 20 for both, and then they are alike
    rows = [row_of(2, 20, 1.0, 9), row_of(2, 20, 1.0, 9), row_of(4, 40, 1.0, 9), row_of(4, 40, 1.0, 9)]
    assert read_log(write(tmp_path, csv_of(rows)))["T"].tolist() == [20, 20, 40, 40]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "expected the rows of at least one episode, got none"),
        (HEADER.encode() + b"\n", "expected the rows of at least one episode, got none"),
        (b"\x00\xff\xfe\n", "expected a log in text, got other bytes"),
        (b"ep,G\n1,2\n", "line 1: expected a header with the column T, got 'ep,G'"),
        (b"ep,T\n1,2\n1,2,3\n", "line 3: expected the 2 fields of the header, got 3"),
        (b"ep,T,G\n1,2,two\n", "line 2: expected a number as G, got 'two'"),
        (b"ep,T,G\n1,,2\n", "line 2: expected a step T, got ''"),
        (b"ep,T,G\n1,nan,2\n", "line 2: expected a step T, got 'nan'"),
        (b'ep,T\n1,2\n"1,2\n', "line 3: expected fields separated by commas"),
        (b'{"T": 1}\n[1]\n', r"line 2: expected one JSON object, got '\[1\]'"),
        (b'{"T": 1}\n{"T": }\n', "line 2: expected one JSON object"),
        (b'{"G": 1}\n', "line 1: expected a step T, got None"),
        (b'{"T": 1, "G": [1]}\n', r"line 1: expected a number as G, got \[1\]"),
    ],
)
def test_a_file_that_is_no_log_is_named(tmp_path, text, complaint):
    path = write(tmp_path, text, "no.csv")
    with pytest.raises(ValueError, match=rf"no\.csv.*{complaint}.*Fix: pass a file that coax\.sinks\.CSV") as caught:
        read_log(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        read_log(tmp_path / "nothing.csv")


@pytest.mark.parametrize(("sink", "name"), [("CSV", "run.csv"), ("JSONLines", "run.jsonl")])
def test_what_the_sinks_write(tmp_path, sink, name):
    out = getattr(coax.sinks, sink)(tmp_path / name)
    numbers = {"ep": 1, "T": 21, "G": 1 / 3, "avg_r": 0.1, "avg_G": float("nan"), "t": 20, "dt_ms": 0.25}
    out.write(21, numbers, {})
    out.write(32, {**numbers, "ep": 2, "T": 32, "G": float("inf")}, {"QLearning/loss": 1e-30})
    out.close()
    log = read_log(tmp_path / name)
    assert log["G"].tolist() == [1 / 3, np.inf]
    assert log["T"].tolist() == [21, 32]
    np.testing.assert_array_equal(log["avg_G"], [np.nan] * 2)
    np.testing.assert_array_equal(log["QLearning/loss"], [np.nan, 1e-30])


def test_a_monitor_that_goes_on_from_an_earlier_state(tmp_path):
    def monitor_of(reward):
        sinks = [coax.sinks.CSV(tmp_path / "run.csv"), coax.sinks.JSONLines(tmp_path / "run.jsonl")]
        return coax.wrappers.TrainMonitor(one_state(reward, max_steps=5), sinks=sinks)

    def play(env, episodes):
        for _ in range(episodes):
            env.reset()
            while not env.step(0)[3]:
                pass

    env = monitor_of(1.0)
    play(env, 2)
    state = env.state
    play(env, 2)
    env.close()
    env = monitor_of(2.0)  # so that what it writes can be told from what was there
    env.state = state
    play(env, 3)
    env.close()
    for name in ("run.csv", "run.jsonl"):
        assert len((tmp_path / name).read_text().splitlines()) == (8 if name == "run.csv" else 7)
        log = read_log(tmp_path / name)
        # one reset and five steps each
        assert log["T"].tolist() == [6, 12, 18, 24, 30]
        assert log["G"].tolist() == [5, 5, 10, 10, 10]
        assert log["ep"].tolist() == [1, 2, 3, 4, 5]
