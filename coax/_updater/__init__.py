"""What all updaters share: the guarded gradient step, the call in place, the checks of batches, the shell."""

from ._checks import as_loss, check_kind, check_same_spaces
from ._fields import field_check
from ._gradient_step import fill_dead_rows, gradient_step
from ._in_place import FINITE, call_step, merge, poll, raise_not_finite
from ._optimizer import OptimizerAttribute, as_optimizer
from ._rule import Batch, Core, GradientRule, Loss, Weights
from ._several import check_reduction, checked_list, count_networks, draw_networks, stacked
from ._shell import Updater, present

__all__ = (
    "FINITE",
    "Batch",
    "Core",
    "GradientRule",
    "Loss",
    "OptimizerAttribute",
    "Updater",
    "Weights",
    "as_loss",
    "as_optimizer",
    "call_step",
    "check_kind",
    "check_reduction",
    "check_same_spaces",
    "checked_list",
    "count_networks",
    "draw_networks",
    "field_check",
    "fill_dead_rows",
    "gradient_step",
    "merge",
    "poll",
    "present",
    "raise_not_finite",
    "stacked",
)
