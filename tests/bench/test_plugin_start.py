from tests.bench.plugin_start import LIMIT_MS, measure


def test_help_and_status_start_within_the_promise() -> None:
    result = measure(9)
    assert {name: times["fastestMs"] for name, times in result.items() if times["fastestMs"] >= LIMIT_MS} == {}, result
