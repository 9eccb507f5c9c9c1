"""Which tests run, and how strictly.

``pytest`` runs the fast tier; ``pytest --tier gate`` runs it and the tests marked ``gate``; ``pytest --tier full`` runs
everything. ``pytest --every 8`` runs one test in eight, and ``pytest --checking-leaks`` each of them under
``jax.checking_leaks()``.

Compiled programs are kept between runs if JAX_COMPILATION_CACHE_DIR says where; JAX reads that itself, and here only
the thresholds are lowered, so that small programs are kept too: of this process, and of those that tests start.
"""

import logging
import os

import hypothesis
import jax
import pytest

_TIERS = {"fast": (), "gate": ("gate",), "full": ("gate", "full")}  # which marked tests a tier runs besides the others


def pytest_addoption(parser):
    parser.addoption("--tier", choices=tuple(_TIERS), default="fast", help="which tests run (default: fast)")
    parser.addoption("--every", type=int, default=1, metavar="N", help="of the tests, only each N-th (default: 1)")
    parser.addoption("--checking-leaks", action="store_true", help="run each test under jax.checking_leaks()")


def pytest_configure(config):
    hypothesis.settings.register_profile("coax", deadline=None, derandomize=True, database=None)
    hypothesis.settings.load_profile("coax")
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        for name, least in (("min_compile_time_secs", 0), ("min_entry_size_bytes", -1)):
            os.environ[f"JAX_PERSISTENT_CACHE_{name.upper()}"] = str(least)
            jax.config.update(f"jax_persistent_cache_{name}", least)


def pytest_collection_modifyitems(config, items):
    runs = _TIERS[config.getoption("tier")]
    marked = [item for item in items if not any(item.get_closest_marker(m) and m not in runs for m in ("gate", "full"))]
    kept = marked[:: config.getoption("every")]
    left_out = set(items) - set(kept)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if item.config.getoption("checking_leaks"):
        with jax.checking_leaks():
            return (yield)
    return (yield)


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Leave loggers that coax may set up to the next test as they were."""
    loggers = [logging.getLogger(), logging.getLogger("TrainMonitor")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


@pytest.fixture
def caches_are_on(request):
    """For tests that count what is compiled."""
    if request.config.getoption("checking_leaks"):
        pytest.skip("under jax.checking_leaks() jax itself compiles again what it has compiled before")
