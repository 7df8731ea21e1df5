"""Traces, as a receiver of OTLP over HTTP gets them."""

import asyncio
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger, Phase, PlaceTriedStatus
from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.cli import run as run_module
from deepseek_operator.cli.main import app
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.store import Store
from deepseek_operator.kube.errors import KubeDeniedError
from deepseek_operator.reconcile.actions import Action
from deepseek_operator.reconcile.results import Result, ResultKind
from deepseek_operator.runtime import tracing
from deepseek_operator.runtime.recorder import Recorder
from deepseek_operator.runtime.series import DeploymentCollector, LiveFigures
from deepseek_operator.skypilot.client import SkyPilotClient
from tests.fakes.skypilot import FakeSkyPilot
from tests.fakes.traces import TraceReceiver
from tests.unit.reconcile import builders as b
from tests.unit.runtime.test_reconciler import KEY, Actor, reconciler_of

SECRET = "sk-5ecret"
OF_DEPLOYMENT = {"k8s.namespace.name": "serving", "deepseek_operator.deployment": "r1"}
T = datetime(2026, 1, 1, tzinfo=UTC)


class Teller(Actor):
    """Sends launches to SkyPilot, and tells too much in its errors."""

    def __init__(self, skypilot: SkyPilotClient, refuses: bool = False) -> None:
        super().__init__()
        self.skypilot, self.refuses = skypilot, refuses

    async def act(self, world: Any, plan: Any, name: ClusterName, action: Action) -> Result:
        if name.ordinal == 1:
            return Result(name, action, ResultKind.FAILED, f"no key {SECRET}")
        await self.skypilot.launch(str(name), {"name": "r1", "run": "true", "secrets": {"KEY": SECRET}}, {})
        return Result(name, action, ResultKind.DONE)

    async def apply_status(self, deployment: Any, status: dict[str, Any]) -> dict[str, Any]:
        if self.refuses:
            raise KubeDeniedError(f"quota {SECRET}", 403)
        return await super().apply_status(deployment, status)


@pytest.fixture
def receiver() -> Iterator[TraceReceiver]:
    with TraceReceiver() as receiver:
        yield receiver


@pytest.fixture
def store() -> Store:
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1", "finalizers": [FINALIZER]}
    store = Store(lambda key: None)
    store.put_deployment({"metadata": metadata, "spec": {**b.CPU_SPEC, "replicas": 2}})
    store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
    return store


async def one_pass(store: Store, receiver: TraceReceiver, *, refuses: bool = False) -> None:
    tracer = tracing.start(receiver.url, "pod-1")
    with FakeSkyPilot() as server:
        async with SkyPilotClient(server.url, user_id="d5ee9000", observe=tracer.skypilot_asked) as skypilot:
            reconciler = reconciler_of(store, Teller(skypilot, refuses), DeploymentCollector(LiveFigures()))
            reconciler.tracer = tracer
            try:
                await reconciler.reconcile(KEY)
            except KubeDeniedError:
                assert refuses
            await skypilot.health()  # outside any pass
    await tracer.close()


async def test_a_pass_is_a_trace_of_its_actions_and_of_what_skypilot_was_asked(
    store: Store, receiver: TraceReceiver
) -> None:
    await one_pass(store, receiver)
    (whole,) = receiver.named("pass")
    assert not whole.failed
    assert whole.parent == b""
    actions = whole.attributes.pop("deepseek_operator.actions")
    assert whole.attributes == {**OF_DEPLOYMENT, "deepseek_operator.outcome": "ok"}
    assert actions == ["ApplyService", "Launch", "Launch"]
    assert receiver.below(whole) == actions
    sent, refused = receiver.named("Launch")
    assert receiver.below(sent) == ["SkyPilot /launch"]
    assert sent.attributes["deepseek_operator.result"] == "done"
    assert refused.attributes["deepseek_operator.result"] == "failed"
    assert sent.attributes["deepseek_operator.reason"] == "Launching"
    assert sent.attributes["deepseek_operator.replica"] != refused.attributes["deepseek_operator.replica"]
    (asked,) = [span for span in receiver.spans if span.name.startswith("SkyPilot")]  # not the question outside a pass
    assert asked.attributes == {"url.path": "/launch"}
    assert whole.began <= sent.began <= asked.began <= asked.ended <= sent.ended <= whole.ended
    assert set(receiver.paths) == {"/v1/traces"}
    assert receiver.resource["service.name"] == "deepseek-operator"
    assert receiver.resource["service.instance.id"] == "pod-1"


async def test_a_pass_that_fails_says_by_which_kind_of_error(store: Store, receiver: TraceReceiver) -> None:
    await one_pass(store, receiver, refuses=True)
    (whole,) = receiver.named("pass")
    assert whole.failed
    assert whole.attributes["error.type"] == "KubeDeniedError"


async def test_a_pass_over_what_is_gone_says_so(store: Store, receiver: TraceReceiver) -> None:
    store.drop_deployment(KEY)
    await one_pass(store, receiver)
    (whole,) = receiver.named("pass")
    assert whole.attributes == {**OF_DEPLOYMENT, "deepseek_operator.outcome": "gone"}


@pytest.mark.parametrize("refuses", [False, True])
async def test_no_secret_of_a_task_or_an_error_is_sent(store: Store, receiver: TraceReceiver, refuses: bool) -> None:
    await one_pass(store, receiver, refuses=refuses)
    assert receiver.named("SkyPilot /launch")
    assert SECRET.encode() not in b"".join(receiver.bodies)


def seconds(value: float) -> datetime:
    return T + timedelta(seconds=value)


def status(phase: Phase, reason: str, tried: tuple[PlaceTriedStatus, ...] = (), **ledger: Any) -> Any:
    since = T.isoformat().replace("+00:00", "Z")
    return DeepSeekDeploymentStatus(
        instances=(
            Instance(
                name="r1-0",
                phase=phase,
                reason=reason,
                message=f"{SECRET} was refused",
                infra="aws",
                since=since,
                places_tried=tried,
                ledger=Ledger(**ledger),
            ),
        )
    )


NOTHING = DeepSeekDeploymentStatus()
QUEUED = status(Phase.PENDING, "Queued")
LAUNCHED = status(Phase.LAUNCHING, "Launching", launched_at=seconds(10))
STARTING = status(Phase.STARTING, "EngineStarting", launched_at=seconds(10), starting_since=seconds(40))
READY = status(Phase.READY, "Ready", launched_at=seconds(10), ready_since=seconds(140))
OLD = PlaceTriedStatus(place="aws/us-west-2", reason="NoCapacity", code="Old", time="2025-12-31T00:00:00Z")
NEW = PlaceTriedStatus(place="aws/us-east-1", reason="NoCapacity", code="Insufficient", time="2026-01-01T00:01:00Z")
FAILED = status(
    Phase.FAILED,
    "NoCapacity",
    (OLD, NEW),
    launched_at=seconds(10),
    counted="request-1",
    failure_reason="NoCapacity",
    failure_message=f"{SECRET} was refused",
)


async def written(receiver: TraceReceiver, *statuses: DeepSeekDeploymentStatus, decided: bool = False) -> None:
    """Write statuses one after the other; ``decided``: by the process that has sent the launch."""
    tracer = tracing.start(receiver.url, "pod-1")
    recorder = Recorder(DeploymentCollector(LiveFigures()), tracer)
    if decided:
        with tracer.span_of_pass(KEY), tracer.span_of_action("Launch", "r1-0", "Launching"):
            pass
    for before, after in itertools.pairwise(statuses):
        recorder.wrote(KEY, before, after)
    await tracer.close()


async def test_a_launch_is_one_trace_from_the_wait_for_a_slot_to_the_first_answer(receiver: TraceReceiver) -> None:
    await written(receiver, NOTHING, QUEUED, LAUNCHED, STARTING, READY, decided=True)
    (launch,) = receiver.named("launch")
    assert (launch.began, launch.ended, launch.parent, launch.failed) == (
        T.timestamp(),
        seconds(140).timestamp(),
        b"",
        False,
    )
    assert launch.attributes == OF_DEPLOYMENT | {
        "deepseek_operator.replica": "r1-0",
        "deepseek_operator.infra": "aws",
        "deepseek_operator.result": "Ready",
    }
    assert receiver.below(launch) == ["slot", "nodes", "engine"]
    lasted = {name: span.ended - span.began for name in ("slot", "nodes", "engine") for span in receiver.named(name)}
    assert lasted == {"slot": 10, "nodes": 30, "engine": 100}
    (decision,) = receiver.named("Launch")
    assert launch.links == (decision.id,)
    assert launch.trace != decision.trace


async def test_a_launch_that_the_operator_before_had_sent_is_a_trace_too(receiver: TraceReceiver) -> None:
    await written(receiver, STARTING, READY)
    (launch,) = receiver.named("launch")
    assert launch.links == ()
    assert receiver.below(launch) == ["nodes", "engine"]


async def test_a_launch_that_fails_ends_now_and_names_the_places_that_it_tried(receiver: TraceReceiver) -> None:
    await written(receiver, NOTHING, LAUNCHED, FAILED)
    (launch,) = receiver.named("launch")
    assert launch.failed
    assert launch.began == seconds(10).timestamp()
    assert launch.ended == pytest.approx(time.time(), abs=60)
    assert launch.attributes["error.type"] == launch.attributes["deepseek_operator.result"] == "NoCapacity"
    assert launch.events == (
        (
            "no machines",
            {
                "deepseek_operator.place": "aws/us-east-1",
                "deepseek_operator.reason": "NoCapacity",
                "deepseek_operator.code": "Insufficient",
            },
        ),
    )
    assert SECRET.encode() not in b"".join(receiver.bodies)


async def test_a_place_whose_time_nobody_can_read_is_named_all_the_same(receiver: TraceReceiver) -> None:
    (failed,) = FAILED.instances
    tried = failed.model_copy(update={"places_tried": (NEW.model_copy(update={"time": "tomorrow"}),)})
    await written(receiver, NOTHING, LAUNCHED, DeepSeekDeploymentStatus(instances=(tried,)))
    (launch,) = receiver.named("launch")
    assert [attributes["deepseek_operator.place"] for _, attributes in launch.events] == ["aws/us-east-1"]


async def test_headers_of_the_environment_are_sent(receiver: TraceReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=team-a")
    await written(receiver, STARTING, READY)
    assert {headers["x-tenant"] for headers in receiver.headers} == {"team-a"}


async def test_a_receiver_that_never_answers_does_not_hold_up_the_end_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "6")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracer = tracing.start(f"http://127.0.0.1:{silent.getsockname()[1]}", "pod-1")
        with tracer.span_of_pass(KEY):
            pass
        began = time.monotonic()
        await tracer.close()
        (sending,) = [thread for thread in threading.enumerate() if thread.name == "last-spans"]
        assert time.monotonic() - began < 5
        assert sending.daemon
        sending.join()


async def test_why_spans_cannot_be_sent_is_said_once_until_they_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with TraceReceiver() as receiver:
        tracer = tracing.start(receiver.url, "pod-1")

        async def tell(until: Callable[[], bool]) -> None:
            async with asyncio.timeout(30):
                while not until():
                    with tracer.span_of_pass(KEY):
                        await asyncio.sleep(0.02)

        receiver.refuses = 503
        await tell(lambda: receiver.refused >= 4)
        assert len(caplog.records) == 1
        receiver.refuses = None
        await tell(lambda: bool(receiver.spans))
        receiver.refuses = 503
        asked = receiver.refused
        await tell(lambda: receiver.refused >= asked + 4)
        assert len(caplog.records) == 2
    await tracer.close()


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys\n"
        "from deepseek_operator.runtime import operator, tracing\n"
        "assert type(tracing.start(None, 'pod-1')) is tracing.Tracer\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "missing_configuration", lambda: "")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    done = CliRunner().invoke(app, ["run", "--tracing-endpoint=http://collector:4318"])
    assert done.exit_code == 2
    assert "deepseek-operator[tracing]" in " ".join(done.output.split())
