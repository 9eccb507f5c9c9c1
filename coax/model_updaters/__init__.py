"""Updaters of models of the environment: supervised learning of rewards and next states."""

from ._model_updater import ModelUpdater

__all__ = ("ModelUpdater",)
