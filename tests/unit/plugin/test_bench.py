"""``bench`` against a server whose speed is known."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.plugin.load import Level, Sample, chart, percentile, table
from deepseek_operator.plugin.screen import plain
from tests.fakes.engine import FakeEngine
from tests.fakes.kubectl import FakeKubectl
from tests.unit.plugin.builders import deployment, instance, pod
from tests.unit.plugin.conftest import Run


@pytest.fixture
def engine(kubectl: FakeKubectl) -> Iterator[FakeEngine]:
    """Ten tokens in 0.05 + 9 x 0.01 s, for four clients at once."""
    with FakeEngine(deltas=["w "] * 10, first_s=0.05, each_s=0.01, slots=4) as engine:
        kubectl.put(deployment(instance(0, address="10.0.0.1:8000")), pod(0))
        kubectl.ports = {f"pod/{pod(0)['metadata']['name']}:8000": engine.port}
        kubectl.save()
        yield engine


def test_the_sweep_measures_what_the_server_does(engine: FakeEngine, run: Run) -> None:
    code, out, _ = run("bench", "r1", "-c", "1,4,8", "--requests", "8", "-o", "json")
    assert code == 0
    one, four, eight = json.loads(out)["levels"]
    assert [level["clients"] for level in (one, four, eight)] == [1, 4, 8]
    assert all((level["requests"], level["failed"], level["tokens"]) == (8, 0, 80) for level in (one, four, eight))
    assert one["timeToFirstTokenSeconds"]["p50"] >= 0.05
    assert one["latencySeconds"]["p50"] >= 0.14
    assert one["seconds"] >= 8 * 0.14
    # Four are written side by side; of eight at once half wait for the others.
    assert four["tokensPerSecond"] > 2 * one["tokensPerSecond"]
    assert eight["timeToFirstTokenSeconds"]["p99"] >= 0.14  # the 0.05 until a token, less what they begin later
    assert eight["seconds"] >= 2 * 0.14  # whenever they have begun
    assert one["tokensPerSecond"] <= 10 / 0.14


def test_every_prompt_is_new_and_all_answers_have_one_length(engine: FakeEngine, run: Run) -> None:
    run("bench", "r1", "-c", "2,2", "--requests", "4", "--max-tokens", "33", "--prompt-words", "5")
    prompts = [asked["messages"][0]["content"] for asked in engine.asked]
    assert len(prompts) == len({prompt.split(":")[0] for prompt in prompts}) == 1 + 8
    assert all(len(prompt.split(": ")[2].split()) == 5 for prompt in prompts)
    assert {(asked["max_tokens"], asked["ignore_eos"]) for asked in engine.asked} == {(33, True)}
    assert engine.most_at_once == 2


def test_a_table_and_bars_are_for_people(engine: FakeEngine, run: Run) -> None:
    code, out, err = run("bench", "r1", "-c", "1,4", "--requests", "4")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "CLIENTS"
    assert [line.split()[0] for line in lines[1:3]] == ["1", "4"]
    assert lines[4] == "tokens/s by clients"
    assert lines[6].count("█") == 40
    assert 4 < lines[5].count("█") < 30
    assert err == (
        "1 client: 4 requests\n4 clients: 4 requests\n"
        f"deepseek-ai/DeepSeek-R1 on {pod(0)['metadata']['name']}; answers of 128 tokens, prompts of 128 words\n"
    )


def test_requests_that_fail_are_counted_and_named(
    engine: FakeEngine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = engine.events

    def some() -> Iterator[str]:
        engine.cut_after = 3 if len(engine.asked) % 2 == 0 else None
        yield from events()

    monkeypatch.setattr(engine, "events", some)
    code, out, err = run("bench", "r1", "-c", "1", "--requests", "4")
    assert code == 1
    assert out.splitlines()[1].split()[:3] == ["1", "4", "2"]
    assert "2 failed: the answer broke off" in err
    engine.asked.clear()
    level = json.loads(run("bench", "r1", "-c", "1", "--requests", "4", "-o", "json")[1])["levels"][0]
    assert level["errors"] == {"the answer broke off": 2}


def test_an_engine_that_refuses_ends_it_before_it_begins(engine: FakeEngine, run: Run) -> None:
    engine.refusal = (400, '{"error": {"message": "ignore_eos is not known"}}')
    assert run("bench", "r1", "--model", "x") == (1, "", "Error: r1: HTTP 400: ignore_eos is not known\n")
    engine.refusal = None
    engine.deltas = []
    assert run("bench", "r1") == (1, "", "Error: r1: the answer was empty\n")


def test_an_engine_that_does_not_count_has_its_pieces_counted(engine: FakeEngine, run: Run) -> None:
    engine.counts = False
    level = json.loads(run("bench", "r1", "-c", "1", "--requests", "2", "-o", "json")[1])["levels"][0]
    assert level["tokens"] == 20


@pytest.mark.parametrize("words", [("-c", "0"), ("-c", "1,,2"), ("-c", "many"), ("--requests", "0")])
def test_wrong_numbers_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert run("bench", "r1", *words)[0] == 2


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(i) for i in range(1, 201)], 0.99, 198.0),
    ],
)
def test_percentiles_are_nearest_ranks(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_levels_without_an_answer_are_shown_without_bars() -> None:
    level = Level(4, 1.0, (Sample(0.0, 0.1, 0, "refused"),))
    assert plain(table([level]))[1].split() == ["4", "1", "1", "0.0", "-", "-", "-", "-"]
    assert chart([level]) == []
