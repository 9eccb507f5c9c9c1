"""What many training loops need around the learning: playing a policy, finding out how good it is, watching it."""

from ._evaluate import Evaluation, evaluate
from ._recording import generate_gif, record_episode
from ._render import render_episode
from ._rollout import rollout

__all__ = ("Evaluation", "evaluate", "generate_gif", "record_episode", "render_episode", "rollout")
