import sys
import warnings

import numpy as np
import pytest
import scipy.stats

from coax.plotting import bootstrap_band, learning_curves, seed_curves
from coax.plotting._learning_curves import on_grid
from tests.plotting.axes import Axes


def write(path, T, G, t=None, **metrics):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.ones(len(T), int) if t is None else t
    columns = {"ep": range(1, len(T) + 1), "T": T, "G": G, "t": t, **metrics}
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(line + "\n" for line in [",".join(columns), *rows]))
    return path


def test_windows_by_hand():
    T, y = np.array([4.0, 10.0, 20.0, 45.0]), np.array([1.0, 3.0, 8.0, 100.0])
    # (0, 10]: (1 + 3) / 2; (10, 20]: 8; nothing in (20, 30] and (30, 40]: the last is 8; (40, 50]: 100
    steps = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    assert on_grid(T, y, steps, 10).tolist() == [2, 8, 8, 8, 100]
    # (-10, 10]: 2; (0, 20]: (1 + 3 + 8) / 3; (10, 30]: 8; (20, 40]: none; (30, 50]: 100
    assert on_grid(T, y, steps, 20).tolist() == [2, 4, 8, 8, 100]


def test_windows_are_those_of_a_slow_loop():
    rng = np.random.default_rng(0)
    T = np.cumsum(rng.integers(1, 40, size=50)).astype(float)
    y, steps = rng.normal(size=50), np.linspace(T[0], T[-1], 77)
    for window in (1.0, 25.0, 300.0):
        slow = []
        for step in steps:
            inside = [value for when, value in zip(T, y, strict=True) if step - window < when <= step]
            before = [value for when, value in zip(T, y, strict=True) if when <= step]
            slow.append(np.mean(inside or before[-1:]))
        np.testing.assert_allclose(on_grid(T, y, steps, window), slow, rtol=1e-12)


def test_seeds_come_to_one_grid(tmp_path):
    # The last common step is 40, in 4 points: 10, 20, 30, 40. The second seed has finished none before 15.
    write(tmp_path / "a/0.csv", [5, 10, 20, 40], [0, 2, 4, 8])
    write(tmp_path / "a/1.csv", [15, 28, 44], [1, 3, 7])
    curve = seed_curves({"a": tmp_path / "a"}, points=4)["a"]
    assert curve.steps.tolist() == [20, 30, 40]
    # the first: 4 in (10, 20], then the last is 4, then 8; the second: 1, 3, and then the last is 3: 44 is beyond
    assert curve.seeds.tolist() == [[4, 4, 8], [1, 3, 3]]
    assert curve.mean.tolist() == [2.5, 3.5, 5.5]
    assert [path[-7:] for path in curve.files] == ["a/0.csv", "a/1.csv"]


def test_a_list_a_file_and_labels_of_different_lengths(tmp_path):
    short = [write(tmp_path / f"short-{i}.csv", [10, 20, 30], [i, i, 1 + i]) for i in range(3)]
    long = write(tmp_path / "long.csv", [10, 60], [5, 6])
    curves = seed_curves({"short": short, "long": str(long)}, points=6)
    # windows of 10 steps for both
    assert curves["short"].steps.tolist() == [10, 20, 30]
    assert curves["long"].steps.tolist() == [10, 20, 30, 40, 50, 60]
    assert curves["long"].seeds.tolist() == [[5, 5, 5, 5, 5, 6]]
    assert list(seed_curves(short)) == ["runs"]
    assert list(seed_curves(long)) == ["long"]


def test_the_numbers_over_seeds(tmp_path):
    rng = np.random.default_rng(0)
    returns = rng.exponential(size=(9, 20))
    for i, G in enumerate(returns):
        write(tmp_path / f"{i}.csv", 10 * np.arange(1, 21), G.tolist())
    curve = seed_curves(tmp_path, points=20, level=0.8, random_seed=3)[tmp_path.name]
    np.testing.assert_allclose(curve.seeds, returns, rtol=1e-12)
    np.testing.assert_allclose(curve.mean, scipy.stats.trim_mean(returns, 0.25))
    np.testing.assert_array_equal([curve.low, curve.high], bootstrap_band(returns, level=0.8, random_seed=3))


def test_a_folder_holds_runs_below_it_and_each_run_once(tmp_path):
    write(tmp_path / "x/0.csv", [10], [1])
    (tmp_path / "x/0.jsonl").write_text('{"T": 10, "G": 1}\n')
    (tmp_path / "y").mkdir()
    (tmp_path / "y/0.jsonl").write_text('{"T": 10, "G": 3}\n')
    (tmp_path / "notes.txt").write_text("no log")
    curve = seed_curves({"all": tmp_path}, points=1)["all"]
    assert curve.seeds.tolist() == [[1], [3]]


def test_another_column(tmp_path):
    # in the row without a loss nothing was recorded; NaN is what a diverged run records, and stays to be seen
    path = write(tmp_path / "0.csv", [10, 20, 30], [1, 1, 1], loss=["", 4.0, "nan"])
    curve = seed_curves(path, "loss", points=3)["0"]
    assert curve.steps.tolist() == [20, 30]
    np.testing.assert_array_equal(curve.seeds, [[4, np.nan]])
    np.testing.assert_array_equal(curve.mean, [4, np.nan])


def test_intervals_in_which_no_episode_ended(tmp_path):
    # so a compiled loop reports
    path = write(tmp_path / "0.csv", [10, 20, 30, 40], [1, "nan", 3, "nan"], t=[5, 0, 7, 0])
    assert seed_curves(path, points=2)["0"].seeds.tolist() == [[1, 3]]  # until 30: (0, 15] and (15, 30]
    assert seed_curves(path, "t", points=2)["0"].seeds.tolist() == [[5, 7]]


def test_nothing_is_extrapolated_in_silence(tmp_path):
    runs = [write(tmp_path / "0.csv", [10, 50], [1, 2]), write(tmp_path / "1.csv", [10, 100], [1, 2])]
    with pytest.warns(
        UserWarning, match=r"runs: expected .* got .*0\.csv, which ends at T = 50, and others up to T = 100"
    ):
        assert seed_curves(runs, points=5)["runs"].steps[-1] == 50
    with pytest.warns(UserWarning, match="The curves end with the shortest. Fix: leave that run out") as caught:
        learning_curves(runs, points=5, axes=Axes())
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seed_curves(runs, points=5, until=40)["runs"].steps.tolist() == [16, 24, 32, 40]
        assert seed_curves(runs, points=5, until=50)["runs"].steps[-1] == 50
    with pytest.raises(ValueError, match=r"0\.csv: expected a run until T = 60, got one that ends at T = 50"):
        seed_curves(runs, until=60)
    write(tmp_path / "1.csv", [10, 54], [1, 2])  # not worth a warning: an episode does not end on time
    assert seed_curves(runs, points=5)["runs"].steps[-1] == 50


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"runs": 3}, TypeError, "runs: expected paths, got 3"),
        ({"runs": [3]}, TypeError, "runs: expected paths, got 3"),
        ({"runs": []}, ValueError, "runs: expected at least one file for 'runs', got none"),
        ({"runs": {"a": []}}, ValueError, "runs: expected at least one file for 'a', got none"),
        ({"runs": "empty"}, ValueError, r"expected \.csv or \.jsonl files in the folder empty, got none"),
        ({"y": "loss"}, ValueError, r"0\.csv: expected numbers in a column 'loss', got ep, T, G, t\. Fix: pass y='G'"),
        ({"points": 0}, ValueError, "points: expected at least 1, got 0"),
        ({"window": 0}, ValueError, "window: expected a positive number, got 0"),
        ({"until": -1}, ValueError, "until: expected a positive number, got -1"),
        ({"runs": ["0.csv", "late.csv"]}, ValueError, r"a first episode that ends at T = 30 and a last one at T = 20"),
    ],
)
@pytest.mark.filterwarnings("ignore:runs. expected runs of about one length")
def test_errors(tmp_path, monkeypatch, kwargs, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "0.csv", [10, 20], [1, 2])
    write(tmp_path / "late.csv", [30, 40], [1, 2])
    with pytest.raises(error, match=text):
        seed_curves(**{"runs": "0.csv", **kwargs})


def test_the_picture(tmp_path):
    for i in range(3):
        write(tmp_path / f"a/{i}.csv", [10, 20, 30], [i, i + 1, i + 4])
    write(tmp_path / "b.csv", [10, 30], [7, 8])
    axes = Axes()
    drawn, curves = learning_curves({"a": tmp_path / "a", "b": tmp_path / "b.csv"}, points=3, axes=axes)
    assert drawn is axes
    assert curves["a"].mean.tolist() == [1, 2, 5]
    assert axes.labels == ["a (3 seeds)", None, "b (1 seed)", None]
    means, seeds, of_b, _ = axes.lines
    np.testing.assert_array_equal(means, [[10, 20, 30], [1, 2, 5]])
    np.testing.assert_array_equal(seeds[1].T, curves["a"].seeds)
    np.testing.assert_array_equal(axes.bands[0], [curves["a"].low, curves["a"].high])
    np.testing.assert_array_equal(of_b[1], [7, 7, 8])
    assert axes.properties == {"xlabel": "steps (T)", "ylabel": "return of an episode"}


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = write(tmp_path / "0.csv", [10], [1])
    assert seed_curves(path)["0"].mean.tolist() == [1]  # the numbers need none: T = 10 is the only point in reach
    with pytest.raises(ImportError, match=r"matplotlib is missing. Fix: pip install 'coax\[plots\]'"):
        learning_curves(path)


def test_with_matplotlib(tmp_path):
    pytest.importorskip("matplotlib")
    path = write(tmp_path / "0.csv", [10, 20], [1, 2])
    axes, curves = learning_curves({"a": path, "b": path}, points=2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (1 seed)", "b (1 seed)"]
    assert axes.lines[0].get_xydata().tolist() == [[10, 1], [20, 2]]
    assert axes.lines[0].get_color() != axes.lines[2].get_color()
    axes.figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert axes.get_xlabel() == "steps (T)"
    assert list(curves) == ["a", "b"]
