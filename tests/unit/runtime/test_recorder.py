"""What two written statuses mean for the metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from deepseek_operator.api.reasons import REPLICA_FAILURES
from deepseek_operator.api.status import (
    Cost,
    DeepSeekDeploymentStatus,
    Instance,
    Ledger,
    PerformanceStatus,
    Phase,
    PlanStatus,
    Verdict,
)
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.runtime.recorder import Recorder
from deepseek_operator.runtime.series import DeploymentCollector, LiveFigures
from tests.unit.reconcile import builders as b

KEY = ("serving", "r1")
T = datetime(2026, 1, 1, tzinfo=UTC)


def status(
    phase: Phase = Phase.LAUNCHING, reason: str = "Launching", infra: str | None = "aws", **ledger: Any
) -> DeepSeekDeploymentStatus:
    instance = Instance(name="r1-0", phase=phase, reason=reason, infra=infra, ledger=Ledger(**ledger))
    return DeepSeekDeploymentStatus(instances=(instance,))


def seconds(value: float) -> datetime:
    return T + timedelta(seconds=value)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(DeploymentCollector(LiveFigures()))


@contextmanager
def counted(name: str, by: float = 1, **labels: str) -> Iterator[None]:
    """Expect a sample to grow by some amount."""

    def value() -> float:
        return REGISTRY.get_sample_value(f"deepseek_operator_{name}", labels) or 0.0

    before = value()
    yield
    assert value() - before == pytest.approx(by)


NOTHING = DeepSeekDeploymentStatus()
LAUNCHED = status(launched_at=T)
STARTING = status(Phase.STARTING, "EngineStarting", launched_at=T, starting_since=seconds(30))
READY = status(Phase.READY, "Ready", launched_at=T, ready_since=seconds(130))
FAILED = status(Phase.FAILED, "NoCapacity", launched_at=T, counted="request-1", failure_reason="NoCapacity", attempts=1)


def test_a_launch_that_leads_to_an_answer_is_counted_with_its_stages(recorder: Recorder) -> None:
    recorder.wrote(KEY, NOTHING, LAUNCHED)
    recorder.wrote(KEY, LAUNCHED, STARTING)
    with (
        counted("launches_total", result="Ready", infra="aws"),
        counted("stage_seconds_sum", by=30, stage="nodes", infra="aws"),
        counted("stage_seconds_sum", by=100, stage="engine", infra="aws"),
        counted("stage_seconds_sum", by=130, stage="ready", infra="aws"),
    ):
        recorder.wrote(KEY, STARTING, READY)


def test_an_engine_that_answers_as_soon_as_its_nodes_are_up_has_no_stages(recorder: Recorder) -> None:
    recorder.wrote(KEY, NOTHING, LAUNCHED)
    with (
        counted("stage_seconds_count", by=0, stage="nodes", infra="aws"),
        counted("stage_seconds_sum", by=130, stage="ready", infra="aws"),
    ):
        recorder.wrote(KEY, LAUNCHED, READY)


def test_series_of_a_launch_begin_at_zero_so_that_prometheus_sees_the_first_one(recorder: Recorder) -> None:
    launched = status(infra="somewhere-new", launched_at=T)
    recorder.wrote(KEY, NOTHING, launched)
    for name, labels in (
        ("launches_total", {"result": "Ready"}),
        ("stage_seconds_count", {"stage": "ready"}),
        ("stage_seconds_count", {"stage": "nodes"}),
        ("stage_seconds_count", {"stage": "engine"}),
        ("start_prediction_ratio_count", {}),
    ):
        found = REGISTRY.get_sample_value(f"deepseek_operator_{name}", {"infra": "somewhere-new", **labels})
        assert found == 0.0, name


def test_a_start_is_compared_with_what_the_planner_expected(recorder: Recorder) -> None:
    performance = PerformanceStatus(
        decode_tokens_per_second=1,
        concurrency=1,
        decode_tokens_per_second_at_concurrency=1,
        prefill_tokens_per_second=1,
        time_to_first_token_seconds=1,
        start_seconds=80,
    )
    plan = PlanStatus(engine="VLLM", verdict=Verdict.FITS, performance=performance)
    recorder.wrote(KEY, NOTHING, STARTING)
    with counted("start_prediction_ratio_sum", by=100 / 80, infra="aws"):
        recorder.wrote(KEY, STARTING, READY.model_copy(update={"plan": plan}))


def test_a_change_of_a_replica_is_a_line_of_the_log_with_its_reason(recorder: Recorder) -> None:
    with capture_logs() as lines:
        recorder.wrote(KEY, LAUNCHED, FAILED)
        recorder.wrote(KEY, FAILED, FAILED)
        recorder.wrote(KEY, FAILED, NOTHING)
    told = [(line["log_level"], line["replica"], line["phase"], line["reason"]) for line in lines]
    assert told == [("warning", "r1-0", "Failed", "NoCapacity"), ("info", "r1-0", "Gone", "TornDown")]


def test_a_launch_that_fails_is_counted_once_by_its_reason(recorder: Recorder) -> None:
    with (
        counted("launches_total", result="NoCapacity", infra="aws"),
        counted("replica_failures_total", reason="NoCapacity", infra="aws"),
    ):
        recorder.wrote(KEY, LAUNCHED, FAILED)
        recorder.wrote(KEY, FAILED, FAILED)


def test_the_launch_after_a_failure_is_another_one(recorder: Recorder) -> None:
    recorder.wrote(KEY, LAUNCHED, FAILED)
    again = status(launched_at=seconds(60), counted="request-1", failure_reason="NoCapacity")
    up = status(Phase.READY, "Ready", launched_at=seconds(60), counted="request-1", ready_since=seconds(90))
    with counted("launches_total", result="Ready", infra="aws"):
        recorder.wrote(KEY, FAILED, again)
        recorder.wrote(KEY, again, up)


def test_an_engine_that_is_started_again_is_a_failure_and_no_launch(recorder: Recorder) -> None:
    failed: dict[str, Any] = {"counted": "job-1", "failure_reason": "EngineExited", "restarts": 1}
    ended = status(Phase.FAILED, "EngineExited", launched_at=T, **failed)
    up = status(Phase.READY, "Ready", launched_at=T, ready_since=seconds(500), **failed)
    with (
        counted("launches_total", by=0, result="Ready", infra="aws"),
        counted("launches_total", by=0, result="EngineExited", infra="aws"),
        counted("replica_failures_total", reason="EngineExited", infra="aws"),
    ):
        recorder.wrote(KEY, READY, ended)
        recorder.wrote(KEY, ended, up)


def test_a_new_process_counts_no_launch_that_an_earlier_one_has_counted(recorder: Recorder) -> None:
    failed: dict[str, Any] = {"launched_at": T, "counted": "job-1", "failure_reason": "EngineExited", "restarts": 1}
    with counted("launches_total", by=0, result="Ready", infra="aws"):
        recorder.wrote(KEY, status(**failed), status(Phase.READY, "Ready", ready_since=seconds(9), **failed))


def test_a_failure_before_there_is_a_place_has_an_unknown_one(recorder: Recorder) -> None:
    failed: dict[str, Any] = {"launched_at": T, "counted": "request-2", "failure_reason": "AccessDenied"}
    with counted("launches_total", result="AccessDenied", infra="unknown"):
        recorder.wrote(KEY, LAUNCHED, status(Phase.FAILED, "AccessDenied", infra=None, **failed))


def test_the_first_failure_of_its_kind_is_an_increase(recorder: Recorder) -> None:
    """A query sees a counter grow only if it was scraped before, here while the launch was under way."""
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID}
    deployment, _ = DeepSeekDeployment.parse_leniently({"metadata": metadata, "spec": b.CPU_SPEC})
    recorder.saw(deployment, status(infra="nebius", launched_at=T))
    for reason in REPLICA_FAILURES:
        of = {"infra": "nebius"}
        assert REGISTRY.get_sample_value("deepseek_operator_launches_total", {"result": str(reason), **of}) == 0
        assert REGISTRY.get_sample_value("deepseek_operator_replica_failures_total", {"reason": str(reason), **of}) == 0


def test_what_a_deployment_costs_is_exported_until_it_is_forgotten() -> None:
    collector = DeploymentCollector(LiveFigures())
    recorder = Recorder(collector)
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID}
    deployment, _ = DeepSeekDeployment.parse_leniently({"metadata": metadata, "spec": {**b.CPU_SPEC, "suspend": True}})
    recorder.saw(deployment, DeepSeekDeploymentStatus(ready_replicas=1, cost=Cost(hourly="3.50")))
    values = {family.name: sample.value for family in collector.collect() for sample in family.samples}
    assert values["deepseek_operator_deployment_hourly_cost_dollars"] == 3.5
    assert values["deepseek_operator_deployment_replicas_ready"] == 1
    assert values["deepseek_operator_deployment_replicas_desired"] == 0
    recorder.forget(KEY)
    assert [sample for family in collector.collect() for sample in family.samples] == []


@pytest.mark.parametrize("since", ["a while ago", "2026-01-01T00:00:00", None])
def test_a_wait_for_a_slot_of_which_nobody_can_read_the_begin_is_none(recorder: Recorder, since: str | None) -> None:
    (instance,) = status(Phase.PENDING, "Queued").instances
    queued = DeepSeekDeploymentStatus(instances=(instance.model_copy(update={"since": since}),))
    up = status(Phase.READY, "Ready", launched_at=T, ready_since=seconds(90))
    with counted("launches_total", result="Ready", infra="aws"):
        recorder.wrote(KEY, queued, up)
