"""What many training loops need around the learning: playing a policy for a while, and finding out how good it is."""

from ._evaluate import Evaluation, evaluate
from ._rollout import rollout

__all__ = ("Evaluation", "evaluate", "rollout")
