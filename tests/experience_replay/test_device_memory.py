"""A large buffer on the device takes its own memory, and no more while it is used."""

import subprocess
import sys

import pytest

SCRIPT = """
import re, sys
import jax, jax.numpy as jnp, numpy as np
import coax
from coax.reward_tracing import TransitionBatch

def numbered(x):
    S = jnp.broadcast_to(x[:, None], (len(x), 120))
    return TransitionBatch(S=S, A=x.astype(np.int32), logP=x, Rn=x, In=x, S_next=S, W=x)

def peak():
    # of this program; ru_maxrss is also that of the process which started it
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

make = getattr(coax.experience_replay, sys.argv[1])
buffer = make(1_000_000, numbered(np.ones(1, np.float32)), random_seed=0)
some = numbered(np.ones(1000, np.float32))
assert buffer.nbytes > 0.97e9
for _ in range(1010):  # so that all of it was written to, and beyond the end
    buffer.add(some)
jax.block_until_ready(buffer._peek()["stores"])
before = peak()

one = numbered(np.ones(1, np.float32))
for _ in range(100):
    buffer.add(one)
    buffer.sample(32)

def turn():
    batch = buffer.sample(32)
    if hasattr(buffer, "update"):
        buffer.update(batch.idx, batch.Rn)
    buffer.add(one, mask=batch.W[:1] > 0)
    return buffer.sample(32).Rn.sum()

jax.block_until_ready(coax.scan(turn, 2000, over=buffer))
jax.block_until_ready(coax.jit(turn, over=buffer)())
assert len(buffer) == 1_000_000
after = peak()

state = buffer.state  # whoever holds on to the state has a copy of it made: this would be seen
buffer.add(one)
jax.block_until_ready(buffer._peek()["stores"])
print(buffer.nbytes, before, after, peak())
"""


@pytest.mark.full
@pytest.mark.parametrize("name", ["DeviceReplayBuffer", "DevicePrioritizedReplayBuffer"])
def test_a_gigabyte_does_not_double(name):
    done = subprocess.run([sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, before, after, copied = map(int, done.stdout.split())
    assert before < 1.7 * size  # with all that Python and JAX take
    assert after < before + 0.2 * size
    assert copied > after + 0.8 * size
