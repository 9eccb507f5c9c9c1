"""Which versions coax needs, what its extras bring, and which combinations are known to fail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ("BASE", "EXTRAS", "KNOWN", "PYTHON", "Combination", "complaints", "fits", "lacking", "names", "plain_name")

# As in pyproject.toml, which a test compares: coax may be used from a folder in which it is not installed. What is for
# working on coax itself is left out.
PYTHON = ">=3.11"
BASE = (
    "jax>=0.10",
    "dm-haiku>=0.0.16",
    "optax>=0.2.6",
    "gymnasium>=1.2",
    "numpy>=2.0",
    "lz4>=4.0",
    "cloudpickle>=3.0",
)
EXTRAS = {
    "atari": ("ale-py>=0.11",),
    "box2d": ("gymnasium[box2d]",),
    "mujoco": ("gymnasium[mujoco]",),
    "render": ("pygame-ce>=2.5",),
    "video": ("imageio[ffmpeg]>=2.36", "pillow>=12.1.1"),
    "plots": ("matplotlib>=3.9",),
    "tensorboard": ("tensorboardX>=2.6.4", "pillow>=11"),
    "wandb": ("wandb>=0.20",),
    "progress": ("tqdm>=4.66",),
    "jaxenvs": ("pgx>=2.6",),
    "offline": ("minari[hdf5]>=0.5.3", "pillow>=11"),
    "ray": ("ray>=2.50",),
    "cuda12": ("jax[cuda12]",),
    "cuda13": ("jax[cuda13]",),
}
# What extras of others bring, as far as coax relies on it; one of those with a bar between them is enough.
_BRINGS = {
    "gymnasium[box2d]": ("box2d|box2d-py", "pygame-ce"),
    "gymnasium[mujoco]": ("mujoco",),
    "imageio[ffmpeg]": ("imageio-ffmpeg",),
    "minari[hdf5]": ("h5py",),
    "jax[cuda12]": ("jax-cuda12-plugin",),
    "jax[cuda13]": ("jax-cuda13-plugin",),
}


class Combination(NamedTuple):
    """Packages that do not go together.

    Attributes
    ----------
    found : mapping from str to str
        It is about environments in which all of these are installed, in these versions. ``"python"`` is one too, and
        an empty string is any version.
    what : str
        What happens.
    fix : str
        What to do.
    absent : tuple of str
        And in which none of these is.
    """

    found: Mapping[str, str]
    what: str
    fix: str
    absent: tuple[str, ...] = ()


# Each was seen to fail with these versions; newer ones may have been mended.
KNOWN = (
    Combination(
        {"mujoco": ">=4", "dm-control": "<=1.0.50"},
        "loading a task of dm_control fails (MjModel has no attribute 'flex_vertedge')",
        "pip install 'mujoco>=3.17,<4'",
    ),
    Combination(
        {"mujoco": ">=3.13", "gymnasium-robotics": "<=1.4.2"},
        "the Fetch, Hand and Kitchen environments fail with an AssertionError",
        "pip install 'mujoco<3.10'",
    ),
    Combination(
        {"gymnasium-robotics": "<=1.4.2", "dm-control": ">=1.0.50"},
        "one needs an old mujoco and the other a new one",
        "install them in environments of their own",
    ),
    Combination(
        {"pygame": "", "pygame-ce": ""},
        "both install the module pygame, and write over each other",
        "pip uninstall -y pygame pygame-ce && pip install pygame-ce",
    ),
    Combination(
        {"gymnax": "<=1.0.1"},
        "importing gymnax fails: it needs six, and does not say so",
        "pip install six",
        absent=("six",),
    ),
    Combination(
        {"gymnax": ">=1,<=1.0.1", "gymnasium": ">=1.4"},
        "gymnax asks for gymnasium<1.4, so that pip refuses the pair or takes an older gymnasium; gymnax runs all the "
        "same",
        "pip install 'gymnax==0.0.9' six, or ignore the conflict",
    ),
    Combination(
        {"minari": "<=0.5.4"},
        "minari fails without Pillow, and does not say so",
        "pip install 'coax[offline]'",
        absent=("pillow",),
    ),
    Combination(
        {"moviepy": "<=2.2.1", "pillow": ">=12"},
        "moviepy asks for pillow<12, and coax for a newer one",
        "pip uninstall moviepy: coax writes films without it",
    ),
    Combination(
        {"rliable": "<=1.2.0", "pandas": ">=3"},
        "importing rliable fails",
        "use coax.plotting.interquartile_mean and bootstrap_band, or pip install 'pandas<3'",
    ),
    Combination(
        {"tensorflow-probability": "<=0.25.0", "jax": ">=0.10"},
        "importing its part for JAX fails",
        "pip install tfp-nightly in its place",
    ),
    Combination(
        {"python": "<3.12", "jax": ">=0.11"},
        "jax 0.10.2 is the last one for Python 3.11",
        "pip install 'jax<0.11', or take Python 3.12 or newer",
    ),
)


def plain_name(name: str) -> str:
    """The name of a distribution, as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names() -> list[str]:
    """All distributions that are asked about, by their plain names."""
    needed = [_parts(text)[0] for text in (*BASE, *(text for extra in EXTRAS.values() for text in extra))]
    brought = [name for alternatives in _BRINGS.values() for name in "|".join(alternatives).split("|")]
    known = [name for each in KNOWN for name in (*each.found, *each.absent)]
    return sorted({plain_name(name) for name in ("jaxlib", *needed, *brought, *known)} - {"python"})


def fits(version: str, wanted: str) -> bool:
    """Whether a version is one of those wanted.

    Parameters
    ----------
    version : str
        Only its leading numbers count: 1.2rc1 is taken for 1.2. One without numbers fits nothing but any version.
    wanted : str
        Clauses such as ``">=1.2,<2"``; an empty string is any version.
    """
    have = _numbers(version)
    for clause in filter(None, wanted.split(",")):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([\d.]+)\s*", clause)
        if match is None:
            raise ValueError(f"expected a clause such as '>=1.2', got {clause!r}. Fix: use one of >= <= == != > <.")
        bound = _numbers(match[2])
        width = max(len(have), len(bound))
        x, y = (each + (0,) * (width - len(each)) for each in (have, bound))
        holds = {">=": x >= y, "<=": x <= y, "==": x == y, "!=": x != y, ">": x > y, "<": x < y}
        if not have or not holds[match[1]]:
            return False
    return True


def lacking(requirements: Iterable[str], versions: Mapping[str, str]) -> list[str]:
    """What is not there, or in another version: for instance ``["pillow>=12 (got 11.0)", "imageio-ffmpeg"]``.

    Parameters
    ----------
    requirements : sequence of str
        For instance ``"imageio[ffmpeg]>=2.36"``.
    versions : mapping from str to str
        What is installed, by plain names.
    """
    found: dict[str, None] = {}
    for text in requirements:
        name, extra, wanted = _parts(text)
        version = versions.get(plain_name(name))
        if version is None:
            found[name] = None
        elif not fits(version, wanted):
            found[f"{name}{wanted} (got {version})"] = None
        for alternatives in _BRINGS.get(name + extra, ()) if extra else ():
            if not any(each in versions for each in alternatives.split("|")):
                found[alternatives.split("|")[0]] = None
    return list(found)


def complaints(versions: Mapping[str, str], known: Iterable[Combination] = KNOWN) -> list[str]:
    """What is wrong with what is installed, in words.

    Parameters
    ----------
    versions : mapping from str to str
        What is installed, by plain names, and ``"python"``.
    known : sequence of Combination, optional
        What to look for besides versions that are too old for coax.
    """
    found = []
    if not fits(versions["python"], PYTHON):
        found.append(f"python {versions['python']}: coax needs {PYTHON}. Fix: take a newer Python.")
    for text in lacking(BASE, versions):
        found.append(f"coax needs {text}. Fix: pip install --upgrade coax")
    for each in known:
        there = all(name in versions and fits(versions[name], wanted) for name, wanted in each.found.items())
        if there and not any(name in versions for name in each.absent):
            what = " with ".join(f"{name} {versions[name]}" for name in each.found)
            without = "".join(f" without {name}" for name in each.absent)
            found.append(f"{what}{without}: {each.what}. Fix: {each.fix}.")
    return found


def _parts(requirement: str) -> tuple[str, str, str]:
    """Name, extra in brackets, and versions."""
    match = re.fullmatch(r"([\w.-]+)(\[[\w.-]+\])?(.*)", requirement)
    assert match is not None, requirement
    return match[1], match[2] or "", match[3]


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
