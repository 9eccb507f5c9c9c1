"""Reinforcement learning in JAX: the concepts as small objects, the training loop yours."""

__version__ = "0.2.0"
