from coax.utils import docstring


def original():
    """What it does."""


def test_docstring_is_taken_over():
    @docstring(original)
    def f():
        return 3

    @docstring(original)
    class C:
        pass

    assert f.__doc__ == C.__doc__ == "What it does."
    assert f() == 3
