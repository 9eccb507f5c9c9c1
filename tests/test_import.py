"""What ``import coax`` does to a process, and what it leaves alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coax

LOOK = """
import json, logging, os, random, sys, warnings
import numpy as np
import gymnasium, haiku, jax, optax  # jax itself draws from the global generator of NumPy

def look():
    return {"environ": dict(os.environ), "random": random.getstate(), "numpy": str(np.random.get_state())}

before = look()
loaded = set(sys.modules)  # Haiku itself loads flax where it is installed
warnings.simplefilter("error")
import coax
after = look()
jax.config.update("jax_num_cpu_devices", 2)  # an error once there is an array
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in set(sys.modules) - loaded}),
    "handlers": len(logging.getLogger().handlers),
    "monitor_handlers": len(logging.getLogger("TrainMonitor").handlers),
    "level": logging.getLogger().level,
    "changed": [key for key in before if before[key] != after[key]],
    "envs": [name for name in ("ConnectFour-v0", "FrozenLakeNonSlippery-v0") if name in gymnasium.registry],
    "devices": jax.device_count("cpu"),
}))
"""

# what the extras bring, under the names they are imported by, and what old versions needed
OPTIONAL = {
    *("ale_py", "Box2D", "mujoco", "pygame", "imageio", "PIL", "matplotlib", "tensorboardX", "tensorboard", "wandb"),
    *("tqdm", "pgx", "gymnax", "brax", "minari", "h5py", "ray", "pandas", "dm_control", "dm_env", "sklearn", "torch"),
    *("tensorflow", "tensorflow_probability", "distrax", "rlax", "flax", "equinox", "pytest", "hypothesis", "scipy"),
}


@pytest.fixture(scope="module")
def look():
    environ = {**os.environ, "PYTHONPATH": str(Path(coax.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, env=environ)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_no_optional_package_is_loaded(look):
    assert set(look["modules"]) & OPTIONAL == set()


def test_logging_is_not_configured(look):
    assert (look["handlers"], look["monitor_handlers"], look["level"]) == (0, 0, 30)  # 30: the default, WARNING


def test_environment_and_global_generators_are_left_alone(look):
    assert look["changed"] == []


def test_the_environments_are_registered(look):
    assert look["envs"] == ["ConnectFour-v0", "FrozenLakeNonSlippery-v0"]


def test_no_device_is_touched(look):
    assert look["devices"] == 2  # so it could still be chosen after the import
