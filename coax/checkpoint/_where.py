"""The way to a leaf, as errors name it."""

from __future__ import annotations

from typing import Self

__all__ = ("TooDeep", "Where", "short")

_DEEPEST = 200
_LONGEST = 200  # letters


def short(text: str) -> str:
    """What an error can show of a text."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class TooDeep(RecursionError):
    """A tree has more levels than a file may have, or contains itself."""


class Where:
    """A way from an object down its tree. Its text is put together when an error needs it, and no sooner.

    Parameters
    ----------
    label : str
        Of the last step.
    above : Where, optional
        The way there.

    Raises
    ------
    TooDeep
        If it is too long: a tree that contains itself has no end.
    """

    __slots__ = ("_above", "_depth", "_label")

    def __init__(self, label: str, above: Self | None = None):
        self._label, self._above = label, above
        self._depth: int = 0 if above is None else above._depth + 1
        if self._depth > _DEEPEST:
            raise TooDeep(
                f"{short(str(self))}: expected at most {_DEEPEST} levels, got more, or a tree that contains "
                "itself. Fix: keep less in it, for instance one array."
            )

    def __add__(self, label: str) -> Where:
        return Where(label, self)

    @property
    def path(self) -> str:
        """All of it."""
        labels: list[str] = []
        step: Where | None = self
        while step is not None:
            labels.append(step._label)
            step = step._above
        return "".join(reversed(labels))

    def __str__(self) -> str:
        return short(self.path)
