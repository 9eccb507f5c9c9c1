"""Regularizers: terms that keep a policy from becoming too sure, or from leaving a prior."""

from ._base import Regularizer, check_regularizer
from ._entropy import EntropyRegularizer
from ._kl_div import KLDivRegularizer
from ._learned_temperature import LearnedTemperature
from ._nstep_entropy import NStepEntropyRegularizer

__all__ = (
    "EntropyRegularizer",
    "KLDivRegularizer",
    "LearnedTemperature",
    "NStepEntropyRegularizer",
    "Regularizer",
    "check_regularizer",
)
