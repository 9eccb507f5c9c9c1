"""The few exceptions of coax: each says what was expected, what came, and what to do."""

__all__ = (
    "CheckpointError",
    "CoaxError",
    "DamagedFileError",
    "EpisodeDoneError",
    "InsufficientCacheError",
    "StateError",
    "UnavailableActionError",
)


class CoaxError(Exception):
    """Base class of all errors that only coax raises."""


class StateError(CoaxError):
    """State was read or changed where that would lose it or freeze it into a constant."""


class CheckpointError(CoaxError):
    """What a checkpoint holds does not fit the objects it is loaded into, or cannot be put into one."""


class DamagedFileError(CheckpointError):
    """A file is no checkpoint, or not as it was written."""


class EpisodeDoneError(CoaxError):
    """A transition or action was given after the end of an episode."""


class InsufficientCacheError(CoaxError):
    """A tracer was asked for a transition that it does not hold yet."""


class UnavailableActionError(CoaxError):
    """The chosen action is not available in this state."""
