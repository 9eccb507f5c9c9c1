"""An episode as a GIF or an MP4 file."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import numbers
import os
import pathlib
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from ..utils import at_least_one, replacing
from ._episode import episode, host_env

__all__ = ("generate_gif", "record_episode")

_LONGEST_MS = 600_000  # what a GIF file can hold, in round numbers


def record_episode(
    env: Any,
    filepath: str | os.PathLike[str],
    policy: Callable[..., Any] | None = None,
    resize_to: tuple[int, int] | None = None,
    duration: float = 50,
    max_episode_steps: int | None = None,
    *,
    format: str | None = None,
    seed: int | None = None,
) -> None:
    """Play one episode, and write it to a GIF or MP4 file. Needs ``pip install 'coax[video]'``.

    The counters of monitors around the environment do not move, and the random stream of the policy is as before. The
    environment itself is played: call it between episodes, and reset the environment before going on.

    Parameters
    ----------
    env : gymnasium.Env
        Made with ``render_mode="rgb_array"``.
    filepath : path
        Missing folders are made. The file appears when it is complete: after an error an older one is as it was.
    policy : callable, optional
        A function of observations that returns actions: e.g. ``pi``, or ``pi.mode`` for its most likely actions. By
        default the actions are random.
    resize_to : tuple of 2 ints, optional
        (width, height) in pixels. By default as rendered; an MP4 file has even numbers of pixels, and is stretched by
        one where they are odd.
    duration : float, optional
        How long each frame is shown, in milliseconds, from 1 to 600,000. GIF files know steps of 10 ms, and many
        programs show nothing faster than 20 ms.
    max_episode_steps : int, optional
        After how many steps to stop in any case. By default what ``env.spec`` says, if it says so.
    format : 'gif' or 'mp4', optional
        By default that of the suffix of `filepath`.
    seed : int, optional
        Of the environment, and of the policy in this episode. By default the environment goes on with its random
        numbers, and the operating system gives a seed for the policy.

    Raises
    ------
    ImportError
        If Pillow, or imageio-ffmpeg for MP4 files, is not installed.
    RuntimeError
        If the environment does not render to arrays.
    TypeError
        If `env` is no single environment, `policy` no function, or `resize_to` no tuple of two integers.
    ValueError
        If the format is unknown, or a number is out of range.

    Notes
    -----
    The first frame is that of the reset, then comes one for each step.

    Examples
    --------
    After training, with an environment of its own:

    >>> env = gymnasium.make("FrozenLakeNonSlippery-v0", render_mode="rgb_array")
    >>> coax.training.record_episode(env, "lake.gif", pi.mode, duration=200, seed=13)
    """
    _record("record_episode", env, filepath, policy, resize_to, duration, max_episode_steps, format, seed)


def generate_gif(
    env: Any,
    filepath: str | os.PathLike[str],
    policy: Callable[..., Any] | None = None,
    resize_to: tuple[int, int] | None = None,
    duration: float = 50,
    max_episode_steps: int | None = None,
) -> None:
    """Play one episode, and write it to a GIF file, whatever its suffix: see :func:`record_episode`.

    Parameters
    ----------
    env : gymnasium.Env
    filepath : path
    policy : callable, optional
    resize_to : tuple of 2 ints, optional
    duration : float, optional
    max_episode_steps : int, optional
        As of :func:`record_episode`.

    Raises
    ------
    ImportError, RuntimeError, TypeError, ValueError
        As :func:`record_episode`.
    """
    _record("generate_gif", env, filepath, policy, resize_to, duration, max_episode_steps, "gif", None)


def _record(
    caller: str,
    env: Any,
    filepath: str | os.PathLike[str],
    policy: Callable[..., Any] | None,
    resize_to: Any,
    duration: float,
    max_steps: int | None,
    format: str | None,
    seed: int | None,
) -> None:
    kind = pathlib.Path(filepath).suffix[1:].lower() if format is None else format
    if kind not in _WRITERS:
        raise ValueError(
            f"{caller}: expected a file of the format 'gif' or 'mp4', got {kind!r} for {os.fspath(filepath)!r}. "
            "Fix: let its name end in .gif or .mp4, or pass format='gif'."
        )
    if not isinstance(duration, numbers.Real) or not 1 <= duration <= _LONGEST_MS:
        raise ValueError(
            f"duration: expected milliseconds from 1 to {_LONGEST_MS}, got {duration!r}. Fix: pass for instance 50."
        )
    _check_size(resize_to)
    mode = host_env(caller, env).render_mode
    if mode not in (None, "rgb_array"):
        raise _no_picture(caller, f"the render mode {mode!r}")
    if max_steps is not None:
        max_steps = at_least_one("max_episode_steps", max_steps, 200)
    elif env.spec is not None:
        max_steps = env.spec.max_episode_steps
    write = _WRITERS[kind](duration)
    with contextlib.closing(episode(env, policy, max_steps, seed)) as turns:
        frames = _frames(caller, turns, resize_to)
        first = next(frames)  # so that an environment without pictures is found out before a file is opened
        with replacing(filepath) as file:
            write(file, itertools.chain([first], frames))
    logging.getLogger(caller).info("recorded episode to: %s", filepath)


def _check_size(resize_to: Any) -> None:
    if resize_to is None:
        return
    if not isinstance(resize_to, tuple) or len(resize_to) != 2:
        raise TypeError(
            f"resize_to: expected a tuple (width, height), got {resize_to!r}. Fix: pass such as (320, 240)."
        )
    for size in resize_to:
        if not isinstance(size, numbers.Integral):
            raise TypeError(f"resize_to: expected two integers, got {resize_to!r}. Fix: pass such as (320, 240).")
        if size < 1:
            raise ValueError(f"resize_to: expected positive numbers, got {resize_to!r}. Fix: pass such as (320, 240).")


# --- pictures ---------------------------------------------------------------------------------------------------------


def _frames(caller: str, turns: Iterator[Any], resize_to: Any) -> Iterator[np.ndarray]:
    """What the environment looks like, u8[height, width, 3] after the reset and after each step."""
    resize = None if resize_to is None else _need("PIL.Image", "Pillow")
    for env in turns:
        frame = _picture(env)
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            got = f"{type(frame).__name__} from env.render()"
            if isinstance(frame, np.ndarray):
                got = f"an array {frame.dtype}{list(frame.shape)} from env.render()"
            raise _no_picture(caller, got)
        yield frame if resize is None else np.asarray(resize.fromarray(frame).resize(resize_to))


def _picture(env: Any) -> Any:
    if env.render_mode is not None:
        return env.render()
    with warnings.catch_warnings():  # some render without a mode; others warn, and return nothing, which we say
        warnings.simplefilter("ignore")
        return env.render()


def _no_picture(caller: str, got: str) -> RuntimeError:
    return RuntimeError(
        f"{caller}: expected an environment that renders to arrays u8[height, width, 3], got {got}. "
        "Fix: make it with render_mode='rgb_array'."
    )


# --- files ------------------------------------------------------------------------------------------------------------


def _gif(duration: float) -> Callable[[BinaryIO, Iterator[np.ndarray]], None]:
    image = _need("PIL.Image", "Pillow")

    def write(file: BinaryIO, frames: Iterator[np.ndarray]) -> None:
        images = (image.fromarray(frame).convert("P", palette=image.Palette.ADAPTIVE) for frame in frames)
        first = next(images)
        first.save(file, format="GIF", save_all=True, append_images=images, duration=duration, loop=0)

    return write


def _mp4(duration: float) -> Callable[[BinaryIO, Iterator[np.ndarray]], None]:
    program = _need("imageio_ffmpeg", "imageio-ffmpeg").get_ffmpeg_exe()

    def write(file: BinaryIO, frames: Iterator[np.ndarray]) -> None:
        first = next(frames)
        height, width, _ = first.shape
        pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{1000 / duration:.6g}"]
        even = f"scale={width + width % 2}:{height + height % 2}"  # few programs play others
        film = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", even, "-f", "mp4"]
        # It writes into the open file, by its name. Its library would start it with a fork, which JAX warns of, and
        # would not say whether it failed.
        command = [program, "-v", "error", "-y", *pictures, "-i", "-", *film, file.name]
        with tempfile.TemporaryFile() as complaints:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=complaints) as process:
                try:
                    _feed(process, first, frames)
                except BaseException:
                    process.kill()
                    raise
            if process.returncode:
                complaints.seek(0)
                text = complaints.read().decode(errors="replace").strip()
                raise OSError(f"ffmpeg failed: {text}. Fix: look for space on the disk.")

    return write


def _feed(process: Any, first: np.ndarray, frames: Iterator[np.ndarray]) -> None:
    for frame in itertools.chain([first], frames):
        if frame.shape != first.shape:
            raise ValueError(
                f"expected pictures of one size, got {list(first.shape)} and {list(frame.shape)}. "
                "Fix: pass resize_to=(320, 240)."
            )
        try:
            process.stdin.write(frame.tobytes())
        except BrokenPipeError:  # it is no more, and has said why
            break
    process.communicate()


_WRITERS = {"gif": _gif, "mp4": _mp4}


def _need(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ImportError(f"{name} is missing. Fix: pip install 'coax[video]'") from err
