import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from coax.proba_dists import check_mask
from coax.proba_dists._masks import mask_parts, read_mask, refuse_mask, split_mask

YES, NO = True, False


# --- one mask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask", [[YES, NO, YES], [1, 0, 1], np.int8([1, 0, 1]), np.float32([1, 0, 1]), jnp.array([1, 0, 1])]
)
def test_a_mask_is_read_as_booleans(mask):
    got = read_mask("mask", mask, 3)
    assert got.dtype == bool
    np.testing.assert_array_equal(got, [YES, NO, YES])


def test_leading_axes_of_a_mask():
    mask = np.random.default_rng(0).integers(0, 2, (4, 2, 3)).astype(bool)
    mask[..., 1] = True
    np.testing.assert_array_equal(read_mask("mask", mask, 3), mask)
    for how in (jax.jit, jax.vmap):
        np.testing.assert_array_equal(how(lambda m: read_mask("mask", m, 3))(mask), mask)


def test_a_traced_mask_is_not_read():
    """It may allow nothing: nobody knows."""
    assert not jax.jit(lambda m: read_mask("mask", m, 3))(np.zeros(3, bool)).any()


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (
            np.ones(4, bool),
            r"\['arm'\]: expected a mask of shape \(\.\.\., 3\), one entry per choice, got \(4,\)\. Fix:",
        ),
        (np.ones((3, 1), bool), r"expected a mask of shape \(\.\.\., 3\), .* got \(3, 1\)"),
        (True, r"expected a mask of shape \(\.\.\., 3\), .* got \(\)"),
        ([0, 2, 1], r"mask\['arm'\]: expected True and False, got 0 to 2\. Fix:"),
        ([0.5, 1, 1], r"expected True and False, got 0.5 to 1.0"),
        (np.zeros(3, bool), r"\['arm'\]: expected at least one allowed choice in every row, .*everywhere\. Fix:"),
        (np.array([[1, 1, 1], [0, 0, 0]]), r"expected at least one allowed choice in every row"),
        (jnp.zeros(3), r"expected at least one allowed choice in every row"),
    ],
)
def test_wrong_mask(mask, text):
    with pytest.raises(ValueError, match=text):
        read_mask("mask['arm']", mask, 3)


def test_a_space_without_choices():
    refuse_mask("mask", None, spaces.Box(0, 1, (2,)))
    with pytest.raises(ValueError, match=r"mask: expected None for Box.*no choices to exclude, got list"):
        refuse_mask("mask", [True, True], spaces.Box(0, 1, (2,)))


# --- masks of the parts of a space ------------------------------------------------------------------------------------

BOTH = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, ()))
PAIR = spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, ())])


def test_parts():
    m = np.bool_([1, 0])
    assert mask_parts("mask", (m, None), [0, 1], PAIR) == [m, None]
    assert mask_parts("mask", [m, None], [0, 1], PAIR) == [m, None]
    assert mask_parts("mask", {"b": None, "a": m}, ["a", "b"], BOTH) == [m, None]
    assert mask_parts("mask", {"a": m}, ["a", "b"], BOTH) == [m, None]
    assert mask_parts("mask", {}, ["a", "b"], BOTH) == [None, None]


def test_wrong_parts():
    with pytest.raises(ValueError, match=r"mask: expected a tuple of 2 masks, got ndarray\. Fix:"):
        mask_parts("mask", np.ones(2), [0, 1], PAIR)
    with pytest.raises(ValueError, match=r"mask: expected a tuple of 2 masks, got tuple"):
        mask_parts("mask", (None,), [0, 1], PAIR)
    with pytest.raises(
        ValueError, match=r"mask: expected a dict of masks with keys from \['a', 'b'\], got the keys \['c'\]"
    ):
        mask_parts("mask", {"c": None}, ["a", "b"], BOTH)
    with pytest.raises(
        ValueError, match=r"mask: expected a dict of masks with keys from \['a', 'b'\], got tuple\. Fix:"
    ):
        mask_parts("mask", (None, None), ["a", "b"], BOTH)


def test_entries():
    # entries of 2 and 3 choices: (1, 0) and (0, 1, 1), apart or side by side
    want = [np.bool_([1, 0]), np.bool_([0, 1, 1])]
    for mask in (tuple(want), want, np.concatenate(want), [1, 0, 0, 1, 1]):
        got = split_mask("mask", mask, [2, 3])
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_entry_without_a_mask():
    first, second = split_mask("mask", (None, np.bool_([0, 1, 1])), [2, 3])
    assert first is None
    np.testing.assert_array_equal(second, [0, 1, 1])


def test_entries_of_a_batch():
    rows = np.arange(20).reshape(2, 2, 5) % 3 > 0
    first, second = split_mask("mask", rows, [2, 3])
    np.testing.assert_array_equal(first, rows[..., :2])
    np.testing.assert_array_equal(second, rows[..., 2:])
    first, second = jax.jit(lambda m: split_mask("mask", m, [2, 3]))(rows)
    np.testing.assert_array_equal(first, rows[..., :2])
    np.testing.assert_array_equal(second, rows[..., 2:])


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (np.ones(6, bool), r"shape \(6,\)"),
        (np.ones((5, 1), bool), r"shape \(5, 1\)"),
        (True, r"shape \(\)"),
        ([1, 0, 1], r"shape \(3,\)"),
        ((None, None, None), "a tuple of 3"),
        ((np.ones(2), True), "a tuple of 2"),
    ],
)
def test_wrong_entries(mask, got):
    text = r"mask: expected a mask per entry, of lengths \[2, 3\], or one of shape \(\.\.\., 5\), got "
    with pytest.raises(ValueError, match=text + got + r"\. Fix:"):
        split_mask("mask", mask, [2, 3])


# --- is anything allowed? ---------------------------------------------------------------------------------------------

SPACE = spaces.Dict(
    arm=spaces.MultiDiscrete([2, 3]),
    hand=spaces.Box(0, 1, ()),
    t=spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(1)]),
)


def test_a_mask_that_allows_something():
    check_mask("mask", None, SPACE)
    check_mask("mask", {}, SPACE)
    check_mask("mask", {"arm": np.bool_([1, 0, 0, 0, 1]), "t": (np.bool_([0, 1]), None)}, SPACE)
    check_mask("mask", {"t": (None, np.bool_([0, 1])), "arm": (None, np.bool_([0, 1, 0]))}, SPACE)


def test_rows_that_count():
    mask = np.bool_([[0, 0], [1, 0]])
    check_mask("mask", mask, spaces.Discrete(2), rows=np.bool_([0, 1]))
    with pytest.raises(ValueError, match="mask: expected at least one allowed choice in every row"):
        check_mask("mask", mask, spaces.Discrete(2), rows=np.bool_([1, 1]))
    with pytest.raises(ValueError, match="mask: expected at least one allowed choice in every row"):
        check_mask("mask", mask, spaces.Discrete(2))


def test_masks_are_read_as_far_as_they_are_known():
    with pytest.raises(ValueError, match=r"mask: expected at least one allowed choice"):
        check_mask("mask", jnp.zeros(2, bool), spaces.Discrete(2))
    jax.jit(lambda mask: check_mask("mask", mask, spaces.Discrete(2)))(jnp.zeros(2, bool))


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ({"arm": np.bool_([1, 0, 0, 0, 0])}, r"mask\['arm'\]\[1\]: expected at least one allowed choice in every row"),
        ({"arm": np.bool_([0, 0, 0, 0, 1])}, r"mask\['arm'\]\[0\]: expected at least one allowed choice in every row"),
        ({"t": (np.bool_([0, 0]), None)}, r"mask\['t'\]\[0\]: expected at least one allowed choice in every row"),
        ({"t": (None, np.bool_([0, 0]))}, r"mask\['t'\]\[1\]\[0\]: expected at least one allowed choice in every row"),
        ({"hand": np.ones(1)}, r"mask\['hand'\]: expected None for Box"),
        (
            {"leg": None},
            r"mask: expected a dict of masks with keys from \['arm', 'hand', 't'\], got the keys \['leg'\]",
        ),
    ],
)
def test_a_mask_that_allows_nothing(mask, text):
    with pytest.raises(ValueError, match=text):
        check_mask("mask", mask, SPACE)
