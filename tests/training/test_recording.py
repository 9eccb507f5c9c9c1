"""One frame after the reset and one after each step go into the file, which is there completely or not at all."""

import logging
import re
import subprocess
import sys

import gymnasium
import jax
import numpy as np
import pytest

import coax
from coax.training import _recording as recording
from coax.training import generate_gif, record_episode
from coax.wrappers import TrainMonitor
from tests.training.pictures import Film


def colors_of(frames):
    return [tuple(frame[0, 0].tolist()) for frame in frames]


@pytest.fixture
def written(monkeypatch):
    """What is handed to the writers, which write one byte for each frame."""
    calls = []

    def writer(kind):
        def make(duration):
            frames = []
            calls.append((kind, duration, frames))

            def write(file, more):
                for frame in more:
                    frames.append(frame)
                    file.write(b"x")

            return write

        return make

    monkeypatch.setattr(recording, "_WRITERS", {"gif": writer("gif"), "mp4": writer("mp4")})
    return calls


def test_frames(tmp_path, written, caplog):
    caplog.set_level(logging.INFO, "record_episode")
    path = tmp_path / "new/folder/film.gif"
    record_episode(Film(3), path, lambda s: s + 1, duration=40)
    ((kind, duration, frames),) = written
    assert (kind, duration) == ("gif", 40)
    # (20 * t, 100, the action that led here): the first is that of the reset, the last is there once
    assert colors_of(frames) == [(0, 100, 0), (20, 100, 1), (40, 100, 2), (60, 100, 3)]
    assert [(record.name, record.getMessage()) for record in caplog.records if record.name == "record_episode"] == [
        ("record_episode", f"recorded episode to: {path}")
    ]
    assert path.read_bytes() == b"xxxx"
    assert [each.name for each in path.parent.iterdir()] == ["film.gif"]


def test_the_old_signature(tmp_path, written, caplog):
    caplog.set_level(logging.INFO, "generate_gif")
    generate_gif(env=Film(9), policy=lambda s: 0, filepath=str(tmp_path / "a.b"), duration=25, max_episode_steps=2)
    generate_gif(Film(9), tmp_path / "c.gif", lambda s: 0)
    assert [(kind, duration, len(frames)) for kind, duration, frames in written] == [("gif", 25, 3), ("gif", 50, 10)]
    assert caplog.records[0].name == "generate_gif"


def test_the_format(tmp_path, written):
    record_episode(Film(1), tmp_path / "a.MP4", lambda s: 0)
    record_episode(Film(1), tmp_path / "a", lambda s: 0, format="gif")
    assert [kind for kind, _, _ in written] == ["mp4", "gif"]


def test_how_long(tmp_path, written):
    # by default as env.spec says, also where nothing else limits the time; and until the end where nobody says
    env = Film(50)
    env.spec = gymnasium.envs.registration.EnvSpec("Film-v0", max_episode_steps=7)
    record_episode(env, tmp_path / "a.gif", lambda s: 0)
    record_episode(env, tmp_path / "a.gif", lambda s: 0, max_episode_steps=9)
    record_episode(Film(50), tmp_path / "a.gif", lambda s: 0)
    assert [len(frames) for _, _, frames in written] == [8, 10, 51]


def test_a_seed(tmp_path, written):
    for seed in (1, 1, 2):
        record_episode(Film(50), tmp_path / "a.gif", seed=seed)
    a, b, c = (colors_of(frames) for _, _, frames in written)
    assert a == b != c


def test_counters(tmp_path, written):
    env = TrainMonitor(Film(3))
    env.reset()
    env.step(0)
    generate_gif(env, tmp_path / "a.gif", lambda s: 0)
    assert (env.T, env.ep, env.t, env.G, env.avg_G) == (2, 1, 1, 1.0, 0.0)


def test_after_an_error_the_older_file_is_there(tmp_path, written):
    path = tmp_path / "film.gif"
    path.write_text("older")

    def policy(s):
        if s == 2:
            raise KeyError("lost")
        return 0

    monitor = TrainMonitor(Film(4))
    env = gymnasium.wrappers.TimeLimit(monitor, 100)
    with pytest.raises(KeyError, match="lost"):
        record_episode(env, path, policy)
    assert len(written[0][2]) == 3  # so it was being written
    assert path.read_text() == "older"
    assert [each.name for each in tmp_path.iterdir()] == ["film.gif"]
    assert env.env is monitor


def test_after_a_writer_failed_the_monitors_are_back(tmp_path, monkeypatch):
    def write(file, frames):
        next(frames)
        raise OSError("the disk is full")

    monkeypatch.setattr(recording, "_WRITERS", {"gif": lambda duration: write})
    monitor = TrainMonitor(Film(4))
    env = gymnasium.wrappers.TimeLimit(monitor, 100)
    with pytest.raises(OSError, match="the disk is full") as caught:  # which holds what was going on
        record_episode(env, tmp_path / "film.gif", lambda s: 0)
    assert caught.tb is not None
    assert env.env is monitor
    assert list(tmp_path.iterdir()) == []


def test_normalizers_are_frozen(tmp_path, written):
    env = coax.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    env.unwrapped.render = lambda: np.zeros((4, 4, 3), np.uint8)
    env.reset(seed=0)
    env.step(0)
    before = jax.tree.map(np.array, env.normalizer.state)
    record_episode(env, tmp_path / "a.gif", lambda s: 0)
    jax.tree.map(np.testing.assert_array_equal, env.normalizer.state, before)
    assert len(written[0][2]) > 2


class Text(Film):
    def render(self):
        return "no picture"


class Tall(Film):
    def render(self):
        return np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("env", "kwargs", "error", "text"),
    [
        (
            Film(render_mode="human"),
            {},
            RuntimeError,
            "to arrays u8.*, got the render mode 'human'. Fix: .*'rgb_array'",
        ),
        (gymnasium.make("CartPole-v1"), {}, RuntimeError, r"got NoneType from env\.render\(\)"),
        (Text(), {}, RuntimeError, r"got str from env\.render\(\)"),
        (Tall(), {}, RuntimeError, r"got an array uint8\[2, 3, 4\] from env\.render\(\)"),
        (3, {}, TypeError, "expected a single gymnasium.Env, got int"),
        (gymnasium.make_vec("CartPole-v1", 2), {}, TypeError, "single gymnasium.Env, got CartPoleVectorEnv"),
        (Film(), {"policy": 3}, TypeError, "policy: expected a policy or a function"),
        (Film(), {"filepath": "film.avi"}, ValueError, "format 'gif' or 'mp4', got 'avi' for 'film.avi'. Fix: let its"),
        (Film(), {"filepath": "film"}, ValueError, "got '' for 'film'"),
        (Film(), {"format": "GIF"}, ValueError, "got 'GIF'"),
        (Film(), {"resize_to": [3, 4]}, TypeError, r"expected a tuple \(width, height\), got \[3, 4\]"),
        (Film(), {"resize_to": (3,)}, TypeError, r"expected a tuple \(width, height\), got \(3,\)"),
        (Film(), {"resize_to": (3, 4.0)}, TypeError, r"expected two integers, got \(3, 4.0\)"),
        (Film(), {"resize_to": (3, 0)}, ValueError, r"expected positive numbers, got \(3, 0\)"),
        (Film(), {"duration": 0}, ValueError, "duration: expected milliseconds from 1 to 600000, got 0"),
        (Film(), {"duration": float("inf")}, ValueError, "duration: expected milliseconds from 1 to 600000, got inf"),
        (Film(), {"duration": "50"}, ValueError, "duration: expected milliseconds from 1 to 600000, got '50'"),
        (Film(), {"max_episode_steps": 0}, ValueError, "max_episode_steps: expected at least 1, got 0"),
    ],
)
def test_errors(tmp_path, monkeypatch, written, env, kwargs, error, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=text):
        record_episode(**{"env": env, "filepath": "film.gif", "policy": lambda s: 0, **kwargs})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "name", "missing"),
    [("PIL.Image", "film.gif", "Pillow"), ("imageio_ffmpeg", "film.mp4", "imageio-ffmpeg")],
)
def test_without_the_extra(tmp_path, monkeypatch, module, name, missing):
    monkeypatch.setitem(sys.modules, module, None)
    env = Film()
    env.t = 99
    with pytest.raises(ImportError, match=rf"{missing} is missing. Fix: pip install 'coax\[video\]'"):
        record_episode(env, tmp_path / name, lambda s: 0)
    assert env.t == 99  # not even reset
    assert list(tmp_path.iterdir()) == []


def test_a_gif(tmp_path):
    image = pytest.importorskip("PIL.Image")
    generate_gif(Film(5), tmp_path / "film.gif", lambda s: 4 - s, resize_to=(30, 10), duration=40)
    with image.open(tmp_path / "film.gif") as film:
        assert (film.format, film.size, film.n_frames, film.info["loop"]) == ("GIF", (30, 10), 6, 0)
        frames = []
        for i in range(6):
            film.seek(i)
            assert film.info["duration"] == 40
            frames.append(np.asarray(film.convert("RGB")))
    assert colors_of(frames) == [(0, 100, 0), (20, 100, 4), (40, 100, 3), (60, 100, 2), (80, 100, 1), (100, 100, 0)]


def test_an_mp4(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    record_episode(Film(5), tmp_path / "film.mp4", lambda s: 0, duration=40)
    program = ffmpeg.get_ffmpeg_exe()
    raw = [program, "-i", tmp_path / "film.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    played = subprocess.run(raw, capture_output=True, check=True)
    # 22 times 16 pixels, which is even, while the pictures are 21 wide and 15 high; and 25 in a second
    assert re.search(rb"Video: h264.*yuv420p.* 22x16.* 25 fps", played.stderr)
    frames = np.frombuffer(played.stdout, np.uint8).reshape(6, 16, 22, 3)
    # it is compressed, so colors are near those of the pictures
    np.testing.assert_allclose([frame.mean((0, 1)) for frame in frames], [(20 * t, 100, 0) for t in range(6)], atol=8)
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]
    assert coax.training.record_episode is record_episode


class Growing(Film):
    def render(self):
        return np.zeros((4 + self.t, 6, 3), np.uint8)


def test_an_mp4_that_fails(tmp_path, monkeypatch):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    path.write_text("older")
    with pytest.raises(ValueError, match=r"pictures of one size, got \[4, 6, 3\] and \[5, 6, 3\]. Fix: pass resize_to"):
        record_episode(Growing(5), path, lambda s: 0)
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho no space >&2; exit 3")
    broken.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "get_ffmpeg_exe", lambda: str(broken))
    with pytest.raises(OSError, match=r"ffmpeg failed: no space\. Fix: look for space on the disk"):
        record_episode(Film(5), path, lambda s: 0)
    assert path.read_text() == "older"
    assert {each.name for each in tmp_path.iterdir()} == {"film.mp4", "ffmpeg"}
