import pytest

from coax import utils

# names of coax 0.1.13 that are not here yet, because what they need is not
LATER = {"generate_gif", "make_dmc", "render_episode"}
OLD = [
    "StepwiseLinearFunction",
    "OrnsteinUhlenbeckNoise",
    "SegmentTree",
    "SumTree",
    "MinTree",
    "MaxTree",
    "argmax",
    "argmin",
    "batch_to_single",
    "check_array",
    "check_preprocessors",
    "chunks_pow2",
    "clipped_logit",
    "default_preprocessor",
    "diff_transform",
    "diff_transform_matrix",
    "docstring",
    "double_relu",
    "dump",
    "dumps",
    "enable_logging",
    "generate_gif",
    "get_env_attr",
    "get_grads_diagnostics",
    "get_magnitude_quantiles",
    "get_transition_batch",
    "has_env_attr",
    "idx",
    "is_policy",
    "is_qfunction",
    "is_reward_function",
    "is_stochastic",
    "is_transition_model",
    "is_vfunction",
    "isscalar",
    "jit",
    "load",
    "loads",
    "make_dmc",
    "merge_dicts",
    "pretty_print",
    "pretty_repr",
    "quantiles",
    "quantiles_uniform",
    "quantile_cos_embedding",
    "reload_recursive",
    "render_episode",
    "safe_sample",
    "single_to_batch",
    "stack_trees",
    "sync_shared_params",
    "tree_ravel",
    "unvectorize",
]


def test_all_old_names():
    assert len(OLD) == 53
    assert set(OLD) - set(utils.__all__) <= LATER


@pytest.mark.parametrize("name", [name for name in utils.__all__ if name not in utils._HIGHER])
def test_names_are_there_and_documented(name):
    assert getattr(utils, name).__doc__


def test_unknown_names():
    with pytest.raises(AttributeError, match=r"module 'coax.utils' has no attribute 'nothing'"):
        utils.nothing  # noqa: B018
