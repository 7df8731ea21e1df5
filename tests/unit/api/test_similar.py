"""What a name that nobody knows may have been meant to be."""

import pytest

from deepseek_operator.api.similar import closest, did_you_mean

GPUS = ("H100", "H200", "A100-80GB", "L4")


@pytest.mark.parametrize(
    ("name", "found"),
    [("h10", ("H100",)), ("H20", ("H200", "H100")), ("a100-80", ("A100-80GB", "H100")), ("moon", ())],
)
def test_names_that_look_like_it_are_found_whatever_the_case(name: str, found: tuple[str, ...]) -> None:
    assert closest(name, GPUS)[:1] == found[:1]
    assert set(closest(name, GPUS)) <= set(GPUS)


def test_no_more_are_found_than_were_asked_for_and_none_that_are_less_alike() -> None:
    assert len(closest("H20", GPUS, most=1)) == 1
    assert closest("H20", GPUS, cutoff=0.99) == ()


@pytest.mark.parametrize(
    ("names", "words"), [((), ""), (("a",), "did you mean a?"), (("a", "b"), "did you mean a or b?")]
)
def test_the_question_names_them_or_is_not_asked(names: tuple[str, ...], words: str) -> None:
    assert did_you_mean(names) == words
