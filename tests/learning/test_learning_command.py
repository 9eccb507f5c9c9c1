"""The command that trains the examples: what it computes, and the page that it writes."""

import gymnasium
import pytest

from tests.benchmarks import learning
from tests.environments import OneState


class Always:
    """A policy that always does the same."""

    def __init__(self, a):
        self.a = a

    def mode(self, s):
        return self.a


def test_interquartile_mean():
    # One of five is left out on either side: (2 + 3 + 10) / 3. Of three, none is.
    assert learning.interquartile_mean([100, 3, 0, 2, 10]) == pytest.approx(5)
    assert learning.interquartile_mean([6, 0, 3]) == pytest.approx(3)


def test_evaluate():
    # Seven steps with reward 3 an episode.
    env = gymnasium.wrappers.TimeLimit(OneState([1.0, 3.0]), 7)
    assert learning.evaluate(Always(1), env, seed=0) == [21.0] * 20


def cells(name, mean):
    return (name, "CartPole-v1", "50,000", "500 499 498", mean, "499.0", "475", "33")


def test_the_page_keeps_what_was_not_measured(tmp_path, monkeypatch):
    page = tmp_path / "page.rst"
    page.write_text("Text of two lines\nwith a rest.\n\n" + learning.MARK)
    monkeypatch.setattr(learning, "PAGE", page)
    monkeypatch.setattr(learning, "ROWS", [learning.Row(name, "", 1, 1.0) for name in ("one", "two", "three")])
    learning.write([cells("two", "2.0")])
    learning.write([cells("one", "1.0")])
    learning.write([cells("two", "2.5")])
    assert learning.lines_of(page.read_text()) == {"one": cells("one", "1.0"), "two": cells("two", "2.5")}
    assert page.read_text() == (
        "Text of two lines\nwith a rest.\n\n"
        ".. the table is written by the command above\n\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
        "name  environment  steps   returns      mean  iqm    gate  seconds\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
        "one   CartPole-v1  50,000  500 499 498  1.0   499.0  475   33\n"
        "two   CartPole-v1  50,000  500 499 498  2.5   499.0  475   33\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
    )


def test_names_are_listed(capsys):
    assert learning.main([]) == 0
    assert capsys.readouterr().out.split() == [row.name for row in learning.ROWS]


@pytest.mark.parametrize("row", learning.ROWS, ids=lambda row: row.name)
def test_the_scripts_are_there(row):
    assert (learning.ROOT / "examples" / row.script).is_file()


def test_the_page_in_the_documentation_has_a_place_for_the_table():
    assert learning.PAGE.read_text().count(learning.MARK) == 1
