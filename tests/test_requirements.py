"""``python -m coax``, with what is installed here and with what is made up."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path

import jax
import pytest

import coax
from coax import __main__ as command
from coax._requirements import _BRINGS, BASE, EXTRAS, KNOWN, PYTHON, complaints, fits, lacking, names, plain_name

FINE = {"python": "3.12.1", **{plain_name(re.split(r"[\[>]", text)[0]): "99.0" for text in BASE}}


def test_the_tables_are_those_of_pyproject():
    path = Path(coax.__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text())["project"]
    assert list(BASE) == project["dependencies"]
    extras = {name: tuple(extra) for name, extra in project["optional-dependencies"].items()}
    assert {name: extra for name, extra in extras.items() if name not in ("test", "doc")} == EXTRAS
    assert project["requires-python"] == PYTHON
    nested = {re.sub(r"[>=<].*", "", text) for extra in EXTRAS.values() for text in extra if "[" in text}
    assert set(_BRINGS) == nested


def test_what_extras_of_gymnasium_bring():
    wanted = importlib.metadata.requires("gymnasium")
    for extra in ("box2d", "mujoco"):
        brought = {re.match(r"[\w.-]+", text)[0] for text in wanted if f'extra == "{extra}"' in text}
        assert {name for each in _BRINGS[f"gymnasium[{extra}]"] for name in each.split("|")} <= brought


@pytest.mark.parametrize(
    ("version", "wanted", "fit"),
    [
        ("4.0.0", ">=4", True),
        ("3.17.0", ">=3.17,<4", True),
        ("3.9.0", ">=3.17,<4", False),  # numbers, not letters
        ("4.0.0", ">=3.17,<4", False),
        ("0.10.2", "<=0.10.2", True),
        ("0.10.2.1", "<=0.10.2", False),
        ("0.10", ">0.10.0", False),
        ("0.12.0.1", ">=0.11", True),
        ("0.26.0.dev20261027", "<=0.25.0", False),
        ("4.0rc1", ">=4", True),
        ("1.0", "!=1", False),
        ("1.1", "==1.1.0", True),
        ("?", ">=0", False),
        ("?", "", True),
    ],
)
def test_versions(version, wanted, fit):
    assert fits(version, wanted) is fit


def test_a_clause_that_is_none():
    with pytest.raises(ValueError, match=r"expected a clause such as '>=1\.2', got '~=2'"):
        fits("1", "~=2")


def test_lacking():
    video = EXTRAS["video"]
    assert lacking(video, {}) == ["imageio", "imageio-ffmpeg", "pillow"]
    assert lacking(video, {"imageio": "2.38.1", "imageio-ffmpeg": "0.8", "pillow": "12.1.1"}) == []
    assert lacking(video, {"imageio": "2.38.1", "pillow": "12.0"}) == ["imageio-ffmpeg", "pillow>=12.1.1 (got 12.0)"]
    assert lacking(EXTRAS["box2d"], {"gymnasium": "1.4", "pygame-ce": "2.5"}) == ["box2d"]
    assert lacking(EXTRAS["box2d"], {"gymnasium": "1.4", "pygame-ce": "2.5", "box2d-py": "2.3.8"}) == []
    assert lacking(EXTRAS["tensorboard"], {"tensorboardx": "2.6.5", "pillow": "13"}) == []


def test_nothing_to_complain_about():
    assert complaints(FINE) == []
    fine = {
        "mujoco": "4.0.0",
        "pygame-ce": "2.5.8",
        "gymnax": "0.0.9",
        "six": "1.17",
        "pillow": "13.0.0",
        "minari": "0.5.4",
    }
    assert complaints({**FINE, **fine}) == []
    assert complaints({**FINE, "mujoco": "3.17.0", "dm-control": "1.0.50"}) == []
    assert complaints({**FINE, "mujoco": "3.9.0", "gymnasium-robotics": "1.4.2"}) == []
    assert complaints({**FINE, "python": "3.11.2", "jax": "0.10.2"}) == []


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (
            {"mujoco": "4.0.0", "dm-control": "1.0.50"},
            r"mujoco 4\.0\.0 with dm-control 1\.0\.50: .*'flex_vertedge'.*Fix: pip install 'mujoco>=3\.17,<4'",
        ),
        ({"mujoco": "3.13.1", "gymnasium-robotics": "1.4.2"}, r"the Fetch, Hand .* Fix: pip install 'mujoco<3\.10'"),
        ({"mujoco": "3.9.0", "gymnasium-robotics": "1.4.2", "dm-control": "1.0.50"}, "in environments of their own"),
        ({"pygame": "2.6.1", "pygame-ce": "2.5.8"}, r"pygame 2\.6\.1 with pygame-ce 2\.5\.8: .* Fix: pip uninstall -y"),
        ({"gymnax": "0.0.9"}, r"gymnax 0\.0\.9 without six: .* Fix: pip install six"),
        ({"gymnax": "1.0.1", "six": "1.17", "gymnasium": "1.4.0"}, r"gymnax 1\.0\.1 with gymnasium 1\.4\.0: .*<1\.4"),
        ({"minari": "0.5.4"}, r"minari 0\.5\.4 without pillow: .* Fix: pip install 'coax\[offline\]'"),
        ({"moviepy": "2.2.1", "pillow": "12.1.1"}, r"moviepy asks for pillow<12"),
        ({"rliable": "1.2.0", "pandas": "3.1.1"}, r"importing rliable fails.* Fix: use coax\.plotting"),
        ({"tensorflow-probability": "0.25.0", "jax": "0.10.2"}, "Fix: pip install tfp-nightly"),
        ({"python": "3.11.9", "jax": "0.11.0"}, r"python 3\.11\.9 with jax 0\.11\.0: jax 0\.10\.2 is the last one"),
        ({"python": "3.10.4", "jax": "0.10.2"}, r"python 3\.10\.4: coax needs >=3\.11"),
        ({"jax": "0.9.2"}, r"coax needs jax>=0\.10 \(got 0\.9\.2\)\. Fix: pip install --upgrade coax"),
        ({"lz4": "?"}, r"coax needs lz4>=4\.0 \(got \?\)"),
    ],
)
def test_combinations_that_fail(versions, text):
    (found,) = complaints({**FINE, "gymnasium": "1.3.0", **versions})
    assert re.match(f"(.*){text}", found)


def test_each_known_combination_is_tested():
    tested = next(mark for mark in test_combinations_that_fail.pytestmark if mark.name == "parametrize").args[1]
    found = [
        complaint for versions, _ in tested for complaint in complaints({**FINE, "gymnasium": "1.3.0", **versions})
    ]
    for each in KNOWN:
        assert sum(each.what in complaint for complaint in found) == 1


def test_a_missing_package():
    assert complaints({name: version for name, version in FINE.items() if name != "lz4"}) == [
        "coax needs lz4. Fix: pip install --upgrade coax"
    ]


def test_what_is_asked_about():
    assert {"jax", "jaxlib", "box2d-py", "imageio-ffmpeg", "dm-control", "six", "tensorboardx"} <= set(names())
    assert "python" not in names()


def test_the_report(capsys):
    command.main([])
    text = capsys.readouterr().out
    assert text.startswith(f"coax {coax.__version__} in {Path(coax.__file__).parent}\nPython 3.")
    assert re.search(rf"^  jax +{re.escape(jax.__version__)}$", text, re.MULTILINE)
    assert re.search(r"^  .*\(cpu\)$", text, re.MULTILINE)
    for extra in EXTRAS:
        assert re.search(rf"^  {extra} +(present|missing: .* Fix: pip install 'coax\[{extra}\]')$", text, re.MULTILINE)
    assert "\nwarnings\n" in text


def test_the_report_for_a_program(capsys):
    command.main(["--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts == command.gather()
    assert facts["packages"]["gymnasium"] == importlib.metadata.version("gymnasium")
    assert set(facts["extras"]) == set(EXTRAS)


def test_what_is_broken_does_not_break_it(monkeypatch):
    def version(name):
        if name == "jax":
            return "0.9.9"
        if name == "pillow":
            raise KeyError("Version")
        if name == "mujoco":
            return None
        raise importlib.metadata.PackageNotFoundError(name)

    def no_devices():
        raise RuntimeError("Unable to initialize backend 'cuda':\nmuch more")

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(jax, "devices", no_devices)
    text = command.report(command.gather())
    assert "  none: RuntimeError: Unable to initialize backend 'cuda':\n" in text
    assert "pillow>=12.1.1 (got ?)" in text
    assert "coax needs jax>=0.10 (got 0.9.9)" in text
    assert "  optax                missing\n" in text
    assert re.search(r"^  mujoco +missing: gymnasium\. Fix", text, re.MULTILINE)
    assert re.search(r"^  mujoco +\?$", text, re.MULTILINE)


def test_a_backend_that_fails_without_a_word(monkeypatch):
    def no_devices():
        raise AssertionError

    monkeypatch.setattr(jax, "devices", no_devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert command.devices() == ["none: AssertionError: no device for JAX_PLATFORMS=cuda"]
