"""The metrics: their names follow Prometheus' conventions, and docs/metrics.md lists them."""

import re
import time
from pathlib import Path
from typing import ClassVar

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from deepseek_operator.api.reasons import REPLICA_FAILURES
from deepseek_operator.engines.metrics import Figures
from deepseek_operator.facts.base import Address
from deepseek_operator.runtime import metrics
from deepseek_operator.runtime.series import DeploymentCollector, DeploymentFacts, LiveFigures, ReplicaSeries
from deepseek_operator.skypilot.codes import CODES, TEXTS, WORDS
from tests.unit.exported import Exported, exported

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
FACTS = DeploymentFacts("deepseek-ai/DeepSeek-R1", 2, 2, 1, 12.5, (("Ready", False, "Launching"),))


def rows() -> list[str]:
    return [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.documentation} |"
        for one in exported()
    ]


def test_the_page_lists_every_metric_in_the_words_of_the_code(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--regenerate-expected", default=False):
        table = "".join(f"{row}\n" for row in rows())
        text = re.sub(r"(?m)(^\| --- .*\n)(\| `.*\n)*", lambda found: found[1] + table, text, count=1)
        PAGE.write_text(text, encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `deepseek")] == rows()


@pytest.mark.parametrize("one", exported(), ids=lambda one: one.name)
def test_a_name_has_the_prefix_and_its_unit_in_full(one: Exported) -> None:
    assert one.name.startswith("deepseek_operator_")
    assert not re.search(r"_(gauge|counter|histogram|ms|milliseconds|minutes|hours)(_|$)", one.name)
    assert one.name.endswith("_total") == (one.kind == "counter")
    assert one.name.endswith(("_seconds", "_ratio")) or one.kind != "histogram"
    assert one.documentation.endswith(".")


def test_a_deployment_has_series_until_it_is_forgotten() -> None:
    registry, collector = CollectorRegistry(), DeploymentCollector(LiveFigures())
    registry.register(collector)
    collector.put(("serving", "r1"), FACTS)
    labels = {"namespace": "serving", "name": "r1"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"deepseek_operator_deployment_{name}", {**labels, **more})

    assert value("replicas_desired") == 2
    assert value("replicas_ready") == 1
    assert value("hourly_cost_dollars") == 12.5
    assert value("condition", type="Ready", reason="Launching") == 0
    collector.put(("serving", "r1"), FACTS._replace(ready=2, conditions=(("Ready", True, "Ready"),)))
    assert value("condition", type="Ready", reason="Ready") == 1
    assert value("condition", type="Ready", reason="Launching") is None
    collector.forget(("serving", "r1"))
    assert b'name="r1"' not in generate_latest(registry)


class TestFiguresOfEngines:
    AT = Address("10.0.0.1", 8000)
    LABELS: ClassVar = {"namespace": "serving", "name": "r1", "replica": "r1-0"}
    REPLICA = ReplicaSeries("r1-0", AT, "L4:1", 90, 100)

    @pytest.fixture
    def live(self) -> LiveFigures:
        return LiveFigures()

    @pytest.fixture
    def registry(self, live: LiveFigures) -> CollectorRegistry:
        registry, collector = CollectorRegistry(), DeploymentCollector(live)
        registry.register(collector)
        second = self.REPLICA._replace(name="r1-1", address=Address("10.0.0.2", 8000), kv_cache_tokens=110)
        unknown = second._replace(name="r1-2", accelerators="A10G:1", planned_kv_cache_tokens=None)
        collector.put(("serving", "r1"), FACTS._replace(serving=(self.REPLICA, second, unknown)))
        return registry

    def test_are_as_they_were_read_last(self, live: LiveFigures, registry: CollectorRegistry) -> None:
        live.put(self.AT, Figures(90, 5000.0, 7, 0, 0.25))
        found = {
            name: registry.get_sample_value(f"deepseek_operator_engine_{name}", self.LABELS)
            for name in (
                "generation_tokens_total",
                "running_requests",
                "waiting_requests",
                "kv_cache_usage_ratio",
                "kv_cache_tokens",
            )
        }
        assert list(found.values()) == [5000.0, 7, 0, 0.25, 90]

    def test_have_no_series_while_an_engine_does_not_answer(
        self, live: LiveFigures, registry: CollectorRegistry
    ) -> None:
        live.put(self.AT, Figures(90, 5000.0, 7, 0, 0.25))
        live.put(self.AT, None)
        assert b'replica="r1-0"' not in generate_latest(registry)

    def test_show_the_worst_error_of_a_plan(self, registry: CollectorRegistry) -> None:
        def error(accelerator: str) -> float | None:
            labels = {"model": FACTS.model, "accelerator": accelerator}
            return registry.get_sample_value("deepseek_operator_kv_cache_prediction_error_ratio", labels)

        assert error("L4:1") == pytest.approx(-0.1)
        assert error("A10G:1") is None


def test_errors_of_skypilot_are_counted_by_path_and_kind() -> None:
    def errors() -> float:
        labels = {"path": "/launch", "kind": "rejected"}
        return REGISTRY.get_sample_value("deepseek_operator_skypilot_errors_total", labels) or 0.0

    before = errors()
    metrics.observe_skypilot("/launch", 0.2, "rejected")
    metrics.observe_skypilot("/launch", 0.2, "")
    assert errors() == before + 1


def test_every_reason_that_a_launch_can_fail_for_is_expected() -> None:
    understood = {reason for reason, _ in (*CODES, *WORDS)} | {reason for _, reason in TEXTS}
    assert understood <= set(REPLICA_FAILURES)


def test_a_scrape_of_a_thousand_deployments_takes_less_than_a_second() -> None:
    registry, collector = CollectorRegistry(), DeploymentCollector(LiveFigures())
    registry.register(collector)
    for number in range(1000):
        collector.put(("serving", f"r{number}"), FACTS)
    began = time.process_time()
    text = generate_latest(registry)
    assert time.process_time() - began < 1.0  # measured: 0.07 s
    assert text.count(b"_replicas_ready{") == 1000
