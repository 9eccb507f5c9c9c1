"""Names of coax 0.1.13 that this version does not have, and what to do instead."""

from __future__ import annotations

__all__ = ("absent",)

_INSTEAD = {
    "coax.Worker": "play several environments at once (gymnasium.make_vec), compile the loop (coax.scan over a "
    "coax.envs.JaxVectorEnv), or send the state of the objects, obj.state, with a library of your choice",
    "coax.utils.make_dmc": "take an environment of Gymnasium's interface from the package shimmy, or wrap dm_control",
    "coax.wrappers.BoxActionsToDiscrete": "use gymnasium.wrappers.TransformAction with a Discrete space of actions",
    "coax.wrappers.BoxActionsToReals": "leave it out: the policies of coax stay inside the Box by themselves",
    "coax.wrappers.MetaPolicyEnv": "call the policy that was chosen in your loop",
}


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have."""
    text = f"module {module!r} has no attribute {name!r}"
    instead = _INSTEAD.get(f"{module}.{name}")
    return AttributeError(text if instead is None else f"{text}, which coax 0.1.13 had. Fix: {instead}.")
