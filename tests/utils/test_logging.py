import io
import logging

import pytest

from coax.utils import enable_logging


@pytest.fixture
def console(capsys):
    """Reads the console; the root logger is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_format(console):
    enable_logging()
    logging.getLogger("TrainMonitor").info("ep: %d", 3)
    logging.getLogger("TrainMonitor").debug("not shown")
    assert console() == "[TrainMonitor|INFO] ep: 3\n"


def test_twice_prints_once_and_the_last_name_counts(console):
    enable_logging("first")
    enable_logging("second", level=logging.WARNING)
    logging.getLogger("x").warning("hello")
    logging.getLogger("x").info("not shown")
    assert console() == "[second|x|WARNING] hello\n"


def test_file_with_its_own_level(console, tmp_path):
    path = tmp_path / "new" / "run.log"
    for _ in range(2):
        enable_logging("run", output_filepath=path, output_level=logging.DEBUG)
    logging.getLogger("x").info("both")
    logging.getLogger("x").debug("file")
    assert console() == "[run|x|INFO] both\n"
    assert path.read_text() == "[run|x|INFO] both\n[run|x|DEBUG] file\n"


def test_one_logger_only(console):
    enable_logging(logger="coax_test_logger")
    logging.getLogger("coax_test_logger").info("shown")
    logging.getLogger("other").info("not shown")
    assert console() == "[coax_test_logger|INFO] shown\n"
    logger = logging.getLogger("coax_test_logger")
    logger.removeHandler(logger.handlers[0])


def test_a_console_handler_of_others_stays_alone(console):
    other = logging.StreamHandler()
    logging.getLogger().addHandler(other)
    enable_logging("mine")
    logging.getLogger("x").info("hello")
    assert console() == "hello\n"


def test_a_handler_elsewhere_is_no_console(console):
    elsewhere = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(elsewhere))
    enable_logging()
    logging.getLogger("x").info("hello")
    assert console() == "[x|INFO] hello\n"
    assert elsewhere.getvalue() == "hello\n"
