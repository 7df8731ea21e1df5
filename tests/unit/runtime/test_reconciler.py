"""The pass: what goes wrong with one replica is reported, and touches no other."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import DeepSeekDeploymentSpec
from deepseek_operator.api.v1alpha1 import ANNOTATION_APPROVED_PLAN, FINALIZER
from deepseek_operator.facts.base import Address, Failure
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.store import Store
from deepseek_operator.kube.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeRejectedError,
    KubeUnavailableError,
)
from deepseek_operator.launch.proxy import ProxySettings, ProxySpec
from deepseek_operator.planning import Planned, Planner
from deepseek_operator.reconcile.actions import Action, ApplyProxy, ApplyService, PublishEndpoints, UnpublishEndpoints
from deepseek_operator.reconcile.approval import hash_of
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.results import Result, ResultKind
from deepseek_operator.runtime.reconciler import Reconciler
from deepseek_operator.runtime.recorder import Recorder
from deepseek_operator.runtime.series import DeploymentCollector, LiveFigures
from deepseek_operator.runtime.slots import LaunchSlots
from tests.unit.reconcile import builders as b

KEY = ("serving", "r1")


class Actor:
    """Carries out nothing; the launch of replica 0 runs into a bug."""

    def __init__(self) -> None:
        self.writer = self.tasks = self
        self.forgotten: list[Any] = []
        self.statuses: list[dict[str, Any]] = []

    async def publish(self, world: Any, action: Action) -> bool:
        return False

    async def act(self, world: Any, plan: Any, name: ClusterName, action: Action) -> Result:
        if name.ordinal == 0:
            raise LookupError("a bug")
        return Result(name, action, ResultKind.DONE)

    async def apply_status(self, deployment: Any, status: dict[str, Any]) -> dict[str, Any]:
        self.statuses.append(status)
        return {}

    def hurry(self) -> None: ...

    def forget(self, key: Any) -> None:
        self.forgotten.append(key)


def reconciler_of(store: Store, actor: Actor, collector: DeploymentCollector) -> Reconciler:
    nothing = cast(Any, defaultdict(lambda: lambda *_: None))
    return Reconciler(
        store=store,
        planner=b.planner(),
        kubernetes=cast(Any, SimpleNamespace(put=lambda *_, **__: None)),
        questions=cast(Any, SimpleNamespace(ask=lambda _, of: None)),
        actor=cast(Any, actor),
        publisher=cast(Any, actor),
        events=cast(Any, SimpleNamespace(post=lambda *_: None)),
        slots=LaunchSlots(store, 8, lambda key: None),
        watch=nothing["watch"],
        read=nothing["read"],
        wake=nothing["wake"],
        wake_after=nothing["wake_after"],
        clock=lambda: b.NOW,
        recorder=Recorder(collector),
    )


@pytest.fixture
def store() -> Store:
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1", "finalizers": [FINALIZER]}
    store = Store(lambda key: None)
    store.put_deployment({"metadata": metadata, "spec": {**b.CPU_SPEC, "replicas": 2}})
    store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
    return store


async def test_a_bug_in_one_action_does_not_forget_what_was_done_for_another_replica(store: Store) -> None:
    actor = Actor()
    with pytest.raises(LookupError, match="a bug"):
        await reconciler_of(store, actor, DeploymentCollector(LiveFigures())).reconcile(KEY)
    (status,) = actor.statuses
    launched = [bool(one["ledger"].get("launchedAt")) for one in status["instances"]]
    assert launched == [False, True]


async def test_a_pass_that_is_cancelled_does_not_forget_what_it_has_sent(store: Store) -> None:
    """One replica's launch was sent without an answer; the Secrets of the other one take until the pass is over."""
    sent: list[int] = []

    class Slow(Actor):
        async def act(self, world: Any, plan: Any, name: ClusterName, action: Action) -> Result:
            if name.ordinal == 1:
                await asyncio.sleep(60)
            sent.append(name.ordinal)
            return Result(name, action, ResultKind.UNANSWERED)

    reconciler = reconciler_of(store, Slow(), DeploymentCollector(LiveFigures()))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reconciler.reconcile(KEY)
    assert sent == [0], "SkyPilot may still carry it out"
    world = store.world(KEY, b.NOW)
    assert world is not None
    assert [one.ledger.unanswered for one in world.deployment.status.instances] == ["launch", ""]


@pytest.mark.parametrize(("uid", "expected"), [(b.UID, ["TornDown"]), ("ffffffff-0000-0000-0000-000000000000", [])])
async def test_what_a_status_tells_is_told_also_where_the_answer_to_its_write_was_lost(
    uid: str, expected: list[str]
) -> None:
    """The watch shows it before the next pass, which finds nothing to write; or another object of the same name."""
    metadata = {"name": "r1", "namespace": "serving", "finalizers": [FINALIZER]}
    spec, name = {**b.CPU_SPEC, "replicas": 0}, b.name(b.deployment())
    gone = {"instances": [{"name": str(name), "revision": name.revision, "phase": "Terminating"}]}
    store, told = Store(lambda key: None), list[str]()

    class Deaf(Actor):
        async def apply_status(self, deployment: Any, status: dict[str, Any]) -> dict[str, Any]:
            self.statuses.append(status)
            if len(self.statuses) > 1:
                return {}
            head = {**metadata, "uid": uid, "resourceVersion": "2"}
            store.put_deployment({"metadata": head, "spec": spec, "status": status if uid == b.UID else {}})
            raise KubeUnavailableError("timed out")

    store.put_deployment({"metadata": {**metadata, "uid": b.UID, "resourceVersion": "1"}, "spec": spec, "status": gone})
    store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
    reconciler = reconciler_of(store, Deaf(), DeploymentCollector(LiveFigures()))
    reconciler.events = cast(Any, SimpleNamespace(post=lambda _, note: told.append(note.reason)))
    for _ in range(3):
        with suppress(KubeUnavailableError):
            await reconciler.reconcile(KEY)
    assert told == expected


@pytest.mark.parametrize("error", [KubeRejectedError("a webhook said no", 400), KubeDeniedError("forbidden", 403)])
async def test_a_finalizer_that_is_refused_stands_in_the_status_and_nothing_is_launched_without_it(
    error: KubeError,
) -> None:
    class Refusing(Actor):
        async def finalizer(self, world: Any, action: Action) -> None:
            raise error

        async def act(self, world: Any, plan: Any, name: ClusterName, action: Action) -> Result:
            raise AssertionError(action)

    store = Store(lambda key: None)
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1"}
    store.put_deployment({"metadata": metadata, "spec": b.CPU_SPEC})
    store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
    actor = Refusing()
    with pytest.raises(type(error)):
        await reconciler_of(store, actor, DeploymentCollector(LiveFigures())).reconcile(KEY)
    (status,) = actor.statuses
    (ready,) = [one for one in status["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "KubernetesRefused")
    assert ready["message"] == f"the finalizer of the operator cannot be added: {error}"


async def test_a_deployment_whose_passes_fail_holds_up_no_launch_of_another_one(store: Store) -> None:
    """It stood in line for a launch slot, and does not even come to ask for it any more."""

    class Buggy:
        def plan(self, *_: Any) -> Planned:
            raise LookupError("a bug")

    reconciler = reconciler_of(store, Actor(), DeploymentCollector(LiveFigures()))
    reconciler.slots = slots = LaunchSlots(store, 1, lambda key: None)
    assert slots.take(("other", "busy"), "busy")
    assert not slots.take(KEY, "first in line")
    slots.used("busy")
    assert not slots.take(("other", "next"), "next")
    reconciler.planner = cast(Any, Buggy())
    with pytest.raises(LookupError):
        await reconciler.reconcile(KEY)
    assert slots.take(("other", "next"), "next")


async def test_a_deployment_has_series_from_its_first_pass_until_it_is_gone(store: Store) -> None:
    collector = DeploymentCollector(LiveFigures())
    reconciler = reconciler_of(store, Actor(), collector)

    def series() -> dict[str, float]:
        return {family.name: sample.value for family in collector.collect() for sample in family.samples}

    with pytest.raises(LookupError):
        await reconciler.reconcile(KEY)
    assert series()["deepseek_operator_deployment_replicas_desired"] == 2
    store.drop_deployment(KEY)
    await reconciler.reconcile(KEY)
    assert series() == {}


async def test_what_is_logged_about_an_action_names_the_replica_and_why(store: Store) -> None:
    seen: dict[str, Any] = {}

    class Listener(Actor):
        async def act(self, world: Any, plan: Any, name: ClusterName, action: Action) -> Result:
            seen[str(name)] = structlog.contextvars.get_contextvars()
            return Result(name, action, ResultKind.DONE)

    await reconciler_of(store, Listener(), DeploymentCollector(LiveFigures())).reconcile(KEY)
    assert len(seen) == 2
    for name, bound in seen.items():
        assert bound["replica"] == name
        assert bound["reason"] in {str(reason) for reason in Reason}
    assert "replica" not in structlog.contextvars.get_contextvars()


async def test_the_old_way_is_not_taken_away_where_the_new_one_could_not_be_published(store: Store) -> None:
    new, old = PublishEndpoints("r1-9000", (Address("10.0.0.1", 9000),), ("http",)), UnpublishEndpoints("r1-8000")
    tried: list[Action] = []

    class Refusing(Actor):
        async def publish(self, world: Any, action: Action) -> bool:
            tried.append(action)
            if isinstance(action, PublishEndpoints):
                raise KubeDeniedError("quota", 403)
            return True

    world = store.world(KEY, b.NOW)
    assert world is not None
    reconciler = reconciler_of(store, Refusing(), DeploymentCollector(LiveFigures()))
    errors, refused = await reconciler._publish(world, Decision(publish=(new, old, ApplyService((9000,), "ClusterIP"))))
    assert [type(action) for action in tried] == [PublishEndpoints, ApplyService]
    assert [str(error) for error in errors] == ["quota"]
    assert refused == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KubeRejectedError("Deployment r1-proxy: exceeded quota"), Reason.PROXY_REFUSED),
        (KubeDeniedError("exceeded quota: no deployments", 403), Reason.PROXY_REFUSED),
        (KubeConflictError("a Service r1-tls exists", 409), Reason.NAME_CONFLICT),
        (KubeUnavailableError("timed out"), None),
    ],
)
async def test_a_proxy_that_is_refused_is_told_and_no_error_of_the_pass(
    store: Store, error: KubeError, told: Reason | None
) -> None:
    class Refusing(Actor):
        async def publish(self, world: Any, action: Action) -> bool:
            raise error

    world = store.world(KEY, b.NOW)
    assert world is not None
    reconciler = reconciler_of(store, Refusing(), DeploymentCollector(LiveFigures()))
    apply = ApplyProxy(ProxySpec("r1", b.UID, "serving", "/health", ProxySettings()))
    errors, refused = await reconciler._publish(world, Decision(publish=(apply,)))
    assert refused == ([] if told is None else [(apply, Failure(told, str(error)))])
    assert errors == ([error] if told is None else [])


async def test_nothing_is_kept_of_a_deployment_that_is_gone(store: Store) -> None:
    actor = Actor()
    reconciler = reconciler_of(store, actor, DeploymentCollector(LiveFigures()))
    store.drop_deployment(KEY)
    await reconciler.reconcile(KEY)
    assert set(actor.forgotten) == {KEY}


async def test_an_approved_plan_stays_although_prices_have_moved_since() -> None:
    spec = {
        "model": {"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
        "resources": {"infra": ["aws"]},
        "approval": "Required",
        "replicas": 0,  # nothing is launched or asked for: only the plan is looked at
    }
    planner = Planner(b.planner().catalog)
    before = planner.plan(DeepSeekDeploymentSpec.model_validate(spec))
    assert isinstance(before, Planned)
    dear = before.accelerators[0]
    moved = [
        one.model_copy(update={"on_demand": one.on_demand and one.on_demand * 10}) if one.accelerators == dear else one
        for one in planner.catalog.prices
    ]
    planner.catalog = planner.catalog.with_prices(tuple(moved))
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1", "finalizers": [FINALIZER]}
    shown = before.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    for annotations, same in (({ANNOTATION_APPROVED_PLAN: str(hash_of(before))}, True), ({}, False)):
        body = {"metadata": {**metadata, "annotations": annotations}, "spec": spec, "status": {"plan": shown}}
        store = Store(lambda key: None)
        store.put_deployment(body)
        store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
        actor = Actor()
        reconciler = reconciler_of(store, actor, DeploymentCollector(LiveFigures()))
        reconciler.planner = planner
        await reconciler.reconcile(KEY)
        assert (set(actor.statuses[-1]["plan"]["accelerators"]) == set(before.accelerators)) is same
