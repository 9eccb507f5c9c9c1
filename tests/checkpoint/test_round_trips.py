"""Each stateful object goes on from a file as if nothing had happened, in one that was built anew with another seed."""

import inspect

import pytest

import coax
from tests.checkpoint.everything import EVERYTHING, assert_same

BEFORE, AFTER = 5, 4  # how often each is used before it is saved, and after it was loaded
SLOW = set(EVERYTHING) - {"Q", "EpsilonGreedy", "QLearning", "NStep", "PrioritizedReplayBuffer", "VectorTrainMonitor"}


def classes(module=coax):
    """All that are public and can be made."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.ismodule(found):
            yield from classes(found)
        elif inspect.isclass(found) and issubclass(found, coax.Stateful) and not inspect.isabstract(found):
            yield found


def test_the_table_is_complete():
    bases = {cls for one in classes() for cls in one.__mro__[1:]}
    assert {cls.__name__ for cls in classes() if cls not in bases} | {"TrainMonitor"} == set(EVERYTHING)


def states(objects):
    """All but the time that has passed."""
    every = [obj.state for obj in coax._stateful.collect(objects.values())]
    return [{k: v for k, v in s.items() if k != "seconds"} if isinstance(s, dict) else s for s in every]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.gate] * (n in SLOW)) for n in EVERYTHING])
def test_goes_on_from_a_file(name, tmp_path):
    objects, use = EVERYTHING[name](1)
    for k in range(BEFORE):
        use(k)
    coax.save(tmp_path / "file", **objects)
    others, use_other = EVERYTHING[name](2)
    loaded = coax.load(tmp_path / "file", **others)
    assert all(loaded[each] is others[each] for each in others)
    assert_same(states(objects), states(others))
    for k in range(BEFORE, BEFORE + AFTER):
        assert_same(use(k), use_other(k))
    assert_same(states(objects), states(others))
