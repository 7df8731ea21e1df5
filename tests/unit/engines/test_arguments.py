import pytest

from deepseek_operator.engines import SGLANG, VLLM, ArgumentError, parse_arguments
from deepseek_operator.engines.arguments import merge

ALIASES = VLLM.aliases


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("--a", "1"), {"--a": ("1",)}),
        (("--a=1",), {"--a": ("1",)}),
        (("--a_b", "x", "y", "--c"), {"--a-b": ("x", "y"), "--c": ()}),
        (("--a", "-1"), {"--a": ("-1",)}),
        (("-tp", "4"), {"--tensor-parallel-size": ("4",)}),
        (("--no-enforce-eager",), {"--enforce-eager": ("no",)}),
        (("--kernel-config.enable_x=False",), {"--kernel-config.enable_x": ("False",)}),
        (("--a=", "--b"), {"--a": ("",), "--b": ()}),
        ((), {}),
    ],
)
def test_arguments_are_read_as_the_engines_read_them(words: tuple[str, ...], flags: dict[str, tuple[str, ...]]) -> None:
    parsed = parse_arguments(words, ALIASES)
    assert parsed.flags == flags
    assert parsed.words == words


def test_sglangs_abbreviations_are_known() -> None:
    assert parse_arguments(("--tp", "8", "--dp=2"), SGLANG.aliases).flags == {"--tp-size": ("8",), "--dp-size": ("2",)}


def test_the_same_flag_with_the_same_value_twice_is_harmless() -> None:
    assert parse_arguments(("--a", "1", "--a=1"), {}).flags == {"--a": ("1",)}


def test_the_same_flag_with_two_values_is_refused() -> None:
    with pytest.raises(ArgumentError, match="given twice, with 4 and with 8"):
        parse_arguments(("-tp", "4", "--tensor-parallel-size", "8"), ALIASES)


def test_a_switch_and_its_opposite_are_refused() -> None:
    with pytest.raises(ArgumentError, match="given twice, with nothing and with no"):
        parse_arguments(("--enforce-eager", "--no-enforce-eager"), {})


@pytest.mark.parametrize(("value", "number"), [("4096", 4096), ("32k", 32_000), ("32K", 32_768), ("1.5K", 1536)])
def test_lengths_may_have_vllms_units(value: str, number: int) -> None:
    assert parse_arguments(("--max-model-len", value), {}).integer("--max-model-len") == number


@pytest.mark.parametrize("value", ["infk", "nanK", "1e999m", "1.5", "k", ""])
def test_a_length_that_is_no_whole_number_is_refused_in_a_sentence(value: str) -> None:
    with pytest.raises(ArgumentError, match="must be a whole number"):
        parse_arguments(("--max-model-len", value), {}).integer("--max-model-len")


def test_the_users_flag_replaces_the_planned_one_and_is_said_so() -> None:
    user = parse_arguments(("--port=1", "--new", "x"), {})
    words, replaced = merge([("--port", "8000"), ("--a", "b", "c"), ("--switch",)], user)
    assert words == ("--a", "b", "c", "--switch", "--port=1", "--new", "x")
    assert replaced == ("--port 8000",)


@pytest.mark.parametrize("words", [("--port", "8000"), ("--enforce-eager",), ("--no-enable-prefix-caching",)])
def test_repeating_the_planned_value_replaces_nothing(words: tuple[str, ...]) -> None:
    assert merge([words], parse_arguments(words, {})) == (words, ())


def test_a_users_no_switches_the_planned_switch_off() -> None:
    user = parse_arguments(("--no-enforce-eager",), {})
    assert merge([("--enforce-eager",)], user) == (("--no-enforce-eager",), ("--enforce-eager",))


def test_a_users_switch_replaces_the_planned_no() -> None:
    user = parse_arguments(("--enable-prefix-caching",), {})
    assert merge([("--no-enable-prefix-caching",)], user) == (
        ("--enable-prefix-caching",),
        ("--no-enable-prefix-caching",),
    )
