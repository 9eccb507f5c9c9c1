"""The files that a monitor writes, read back with the standard library."""

import csv
import gc
import json
import math
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

from coax.sinks import CSV, JSONLines

NUMBERS = {"ep": 1, "T": 4, "G": 8.0, "avg_r": 2.5, "avg_G": 8.0, "t": 3, "dt_ms": 0.1}
HEADER = "ep,T,G,avg_r,avg_G,t,dt_ms"
NAMES = ["plain", "plain/loss", 'a, "quoted"', "ä/loss"]  # of metrics, that are hard on a parser
FOREIGN = [
    b"hello",
    b"a,b\n1,2\n",
    b"ep,T\n1,2\n",
    b"T,ep,G,avg_r,avg_G,t,dt_ms\n",
    b"ep,T,G,avg_r,avg_G,t,dt_ms,loss,loss\n",
    b"\x89PNG\r\n\x1a\n\x00",
    b"\xff\xfe,\n",
    b"\n",
    b"[1]\n",
    b'{"a": 1}\n',
    b'{"ep": 1, "T": 2}\n',
    b"{" * 5000 + b"\n",
    b"x" * 2**21,
    f"{HEADER},".encode() + b"x" * 2**21,
    b'{"ep": ' + b"1" * 2**21,
    HEADER.encode() + b",\xff\n",
]


def rows_of_csv(path):
    with open(path, newline="") as file:
        return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def rows_of_json(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in Path(path).read_text().splitlines()]


KINDS = pytest.mark.parametrize(("Kind", "rows"), [(CSV, rows_of_csv), (JSONLines, rows_of_json)])


def write(sink, T, **metrics):
    sink.write(T, {**NUMBERS, "T": T, "ep": T // 4}, metrics)


def floats(rows):
    return [{name: float(x) for name, x in row.items()} for row in rows]


# --- what is in them


def test_a_table_by_hand(tmp_path):
    sink = CSV(tmp_path / "run.csv")
    sink.write(4, NUMBERS, {"b/loss": 0.25, "a": math.nan})
    sink.write(8, {**NUMBERS, "ep": 2, "T": 8, "G": -math.inf}, {"a": 1e-30})
    assert (tmp_path / "run.csv").read_text() == (
        f"{HEADER},b/loss,a\n1,4,8.0,2.5,8.0,3,0.1,0.25,nan\n2,8,-inf,2.5,8.0,3,0.1,,1e-30\n"
    )


def test_json_lines_by_hand(tmp_path):
    sink = JSONLines(tmp_path / "run.jsonl")
    sink.write(4, NUMBERS, {"b/loss": 0.25, "a": math.nan, "c": math.inf, "d": -math.inf})
    sink.write(8, {**NUMBERS, "ep": 2, "T": 8}, {})
    start = '"G": 8.0, "avg_r": 2.5, "avg_G": 8.0, "t": 3, "dt_ms": 0.1'
    assert (tmp_path / "run.jsonl").read_text() == (
        f'{{"ep": 1, "T": 4, {start}, "b/loss": 0.25, "a": "NaN", "c": "Infinity", "d": "-Infinity"}}\n'
        f'{{"ep": 2, "T": 8, {start}}}\n'
    )


@KINDS
def test_numbers_read_back_exactly(tmp_path, Kind, rows):
    rng = np.random.default_rng(0)
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf, np.float32(0.1), np.int64(7)]
    values += [*rng.standard_normal(100).tolist(), True, -0.0]
    sink = Kind(tmp_path / "run")
    sink.write(2**53 + 1, {**NUMBERS, "T": 2**53 + 1}, {f"m{i}": x for i, x in enumerate(values)})
    (row,) = rows(tmp_path / "run")
    assert int(row["T"]) == 2**53 + 1
    for i, x in enumerate(values):
        np.testing.assert_array_equal(float(row[f"m{i}"]), float(x))


@KINDS
def test_each_row_is_there_at_once(tmp_path, Kind, rows):
    sink = Kind(tmp_path / "run")
    for T in (4, 8, 12):
        write(sink, T)
        assert [int(row["T"]) for row in rows(tmp_path / "run")] == list(range(4, T + 1, 4))


@KINDS
def test_a_metric_that_is_named_like_a_number(tmp_path, Kind, rows):
    write(Kind(tmp_path / "run"), 4, G=1.0, t=2.0)
    (row,) = floats(rows(tmp_path / "run"))
    assert (row["G"], row["t"], row["metrics/G"], row["metrics/t"]) == (8.0, 3.0, 1.0, 2.0)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0"])
def test_a_name_that_would_break_the_table(tmp_path, name):
    sink = CSV(tmp_path / "run")
    write(sink, 4, a=1.0)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=r"expected names of metrics in one line, got 'a.*Fix: rename"):
        write(sink, 8, **{name: 1.0})
    assert (tmp_path / "run").read_bytes() == before


# --- more columns later


def test_metrics_that_come_up_later(tmp_path):
    sink = CSV(tmp_path / "run")
    write(sink, 4)
    write(sink, 8, **{NAMES[1]: 1.0})
    write(sink, 12, b=3.0, **{NAMES[2]: 2.0})
    write(sink, 16, b=4.0)
    found = floats(rows_of_csv(tmp_path / "run"))
    assert [row["T"] for row in found] == [4, 8, 12, 16]
    assert [{name: row[name] for name in row if name not in NUMBERS} for row in found] == [
        {},
        {NAMES[1]: 1.0},
        {NAMES[2]: 2.0, "b": 3.0},
        {"b": 4.0},
    ]
    with open(tmp_path / "run", newline="") as file:
        assert {len(row) for row in csv.reader(file)} == {10}
    assert os.listdir(tmp_path) == ["run"]


def test_a_wider_file_keeps_its_place_and_mode(tmp_path):
    os.symlink(tmp_path / "real", tmp_path / "link")
    sink = CSV(tmp_path / "link")
    write(sink, 4)
    os.chmod(tmp_path / "real", 0o640)
    (tmp_path / ".real.part").write_text("left behind by a kill")
    write(sink, 8, a=1.0)
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(os.stat(tmp_path / "real").st_mode) == 0o640
    assert len(rows_of_csv(tmp_path / "real")) == 2
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


# --- going on with a file


@KINDS
def test_a_file_is_appended_to(tmp_path, Kind, rows):
    first = Kind(tmp_path / "run")
    write(first, 4, a=1.0, b=2.0)
    first.close()
    write(Kind(tmp_path / "run"), 8, c=3.0, a=4.0)
    found = floats(rows(tmp_path / "run"))
    assert [(row["T"], row.get("a"), row.get("b"), row.get("c")) for row in found] == [(4, 1, 2, None), (8, 4, None, 3)]


@KINDS
def test_a_file_cut_anywhere(tmp_path, Kind, rows):
    path = tmp_path / "run"
    sink = Kind(path)
    for T in (4, 8):
        write(sink, T, **dict.fromkeys(NAMES, T / 3))
    data, whole = path.read_bytes(), rows(path)
    for n in range(len(data) + 1):
        path.write_bytes(data[:n])
        sink = Kind(path)
        write(sink, 99, **dict.fromkeys(NAMES, 0.5))
        sink.close()
        lines = data[:n].count(b"\n") - (Kind is CSV)  # of them the first is the header
        *old, new = rows(path)
        assert old == whole[: max(0, lines)]
        assert (float(new["T"]), float(new[NAMES[1]])) == (99, 0.5)


@KINDS
def test_a_long_line_cut_short(tmp_path, Kind, rows):
    path = tmp_path / "run"
    write(Kind(path), 4, a=1.0)
    with open(path, "ab") as file:
        file.write(b"1" * 200_000)
    write(Kind(path), 8, a=2.0)
    assert [float(row["T"]) for row in rows(path)] == [4, 8]


@pytest.mark.parametrize("content", FOREIGN, ids=lambda content: repr(content[:12]))
@KINDS
def test_a_file_of_somebody_else(tmp_path, Kind, rows, content):
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{Kind.__name__}: expected a new file or one of .*run.* begins with .* Fix: "
    ):
        Kind(tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == content
    assert os.listdir(tmp_path) == ["run"]


def test_a_file_of_the_other_kind(tmp_path):
    write(CSV(tmp_path / "a"), 4)
    write(JSONLines(tmp_path / "b"), 4)
    with pytest.raises(ValueError, match=r"begins with b'ep,T"):
        JSONLines(tmp_path / "a")
    with pytest.raises(ValueError, match=r"begins with b'\{"):
        CSV(tmp_path / "b")


@KINDS
def test_paths(tmp_path, monkeypatch, Kind, rows):
    monkeypatch.chdir(tmp_path)
    sink = Kind(os.path.join("deep", "down", "run"))
    monkeypatch.chdir("/")
    write(sink, 4)
    assert sink.path == str(tmp_path / "deep" / "down" / "run")
    assert len(rows(tmp_path / "deep" / "down" / "run")) == 1
    assert repr(sink) == f"{Kind.__name__}({sink.path!r})"
    os.mkfifo(tmp_path / "pipe")
    for bad in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match=r"expected the path of a file, got '.*', which is none\. Fix: "):
            Kind(bad)


# --- a full disk


@pytest.fixture
def limit():
    """Set how long a file may become: a write beyond that is cut short, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n=soft: resource.setrlimit(resource.RLIMIT_FSIZE, (n, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@KINDS
def test_a_full_disk(tmp_path, limit, Kind, rows):
    sink = Kind(tmp_path / "run")
    write(sink, 4, a=1 / 3)
    before = (tmp_path / "run").read_bytes()
    limit(len(before) + 10)
    for _ in range(2):
        with pytest.raises(OSError, match="File too large"):
            write(sink, 8, a=1.0)
        assert (tmp_path / "run").read_bytes() == before  # the ten bytes are gone again
    limit()
    write(sink, 12, a=2.0)
    assert [float(row["T"]) for row in rows(tmp_path / "run")] == [4, 12]


def test_a_full_disk_where_a_column_is_to_be_added(tmp_path, limit):
    sink = CSV(tmp_path / "run")
    write(sink, 4)
    before = (tmp_path / "run").read_bytes()
    limit(len(before) - 5)
    with pytest.raises(OSError, match="File too large"):
        write(sink, 8, a=1.0)
    limit()
    assert (tmp_path / "run").read_bytes() == before
    assert os.listdir(tmp_path) == ["run"]
    write(sink, 8, a=1.0)
    assert [float(row["T"]) for row in rows_of_csv(tmp_path / "run")] == [4, 8]


def test_what_could_not_be_taken_away_at_once(tmp_path):
    class Full:
        """A file on a disk that is full, and that cannot even be cut."""

        def __init__(self, file):
            self.file, self.fileno = file, file.fileno

        def write(self, data):
            if len(data) < 20:
                raise OSError("full")
            return self.file.write(data[:10])

        def truncate(self, size):
            raise OSError("stuck")

    sink = JSONLines(tmp_path / "run")
    write(sink, 4)
    before, file = (tmp_path / "run").read_bytes(), sink._file._file
    sink._file._file = Full(file)
    with pytest.raises(OSError, match="full"):
        write(sink, 8)
    assert len((tmp_path / "run").read_bytes()) > len(before)
    with pytest.raises(OSError, match="stuck"):
        write(sink, 8)
    sink._file._file = file
    write(sink, 12)
    assert [row["T"] for row in rows_of_json(tmp_path / "run")] == [4, 12]


def test_a_full_disk_just_after_a_column_was_added(tmp_path, monkeypatch):
    sink = CSV(tmp_path / "run")
    write(sink, 4)
    with monkeypatch.context() as patch:
        patch.setattr(sink._file, "append", lambda lines: os.stat(tmp_path / "nowhere"))
        with pytest.raises(OSError, match="nowhere"):
            write(sink, 8, a=1.0)
    write(sink, 12, a=2.0)
    with open(tmp_path / "run", newline="") as file:
        assert [(row[1], row[7:]) for row in csv.reader(file)] == [("T", ["a"]), ("4", [""]), ("12", ["2.0"])]


# --- closing


@KINDS
def test_closing(tmp_path, Kind, rows):
    sink = Kind(tmp_path / "run")
    write(sink, 4)
    sink.flush()
    sink.close()
    sink.close()
    sink.flush()
    with pytest.raises(ValueError, match=rf"{Kind.__name__}\('.*run'\) is closed\. Fix: write before env\.close\(\)"):
        write(sink, 8)
    assert len(rows(tmp_path / "run")) == 1


@KINDS
def test_one_that_is_gone_leaves_nothing_open(tmp_path, Kind, rows):
    sink = Kind(tmp_path / "run")
    write(sink, 4)
    write(sink, 8, a=1.0)  # which opens the table anew
    file = sink._file._file
    del sink
    gc.collect()
    assert file.closed
    (tmp_path / "other").write_text("x")
    with pytest.raises(ValueError, match="expected a new file"):
        Kind(tmp_path / "other")  # a warning about an open file would be an error here
    gc.collect()
