"""The few exceptions of coax: each says what was expected, what came, and what to do."""

__all__ = (
    "CoaxError",
    "EpisodeDoneError",
    "InsufficientCacheError",
    "StateError",
    "UnavailableActionError",
)


class CoaxError(Exception):
    """Base class of all errors that only coax raises."""


class StateError(CoaxError):
    """State was read or changed where that would lose it or freeze it into a constant."""


class EpisodeDoneError(CoaxError):
    """A transition or action was given after the end of an episode."""


class InsufficientCacheError(CoaxError):
    """A tracer was asked for a transition that it does not hold yet."""


class UnavailableActionError(CoaxError):
    """The chosen action is not available in this state."""
