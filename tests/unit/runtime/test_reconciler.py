"""The pass: what goes wrong with one replica is reported, and touches no other."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.store import Store
from deepseek_operator.reconcile.actions import Action
from deepseek_operator.reconcile.results import Result, ResultKind
from deepseek_operator.runtime.reconciler import Reconciler
from deepseek_operator.runtime.slots import LaunchSlots
from tests.unit.reconcile import builders as b

KEY = ("serving", "r1")


class Actor:
    """Carries out nothing; the launch of replica 0 runs into a bug."""

    def __init__(self) -> None:
        self.writer = self
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

    async def post_event(self, *_: Any) -> None: ...

    def hurry(self) -> None: ...


async def test_a_bug_in_one_action_does_not_forget_what_was_done_for_another_replica() -> None:
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1", "finalizers": [FINALIZER]}
    store = Store(lambda key: None)
    store.put_deployment({"metadata": metadata, "spec": {**b.CPU_SPEC, "replicas": 2}})
    store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
    actor, nothing = Actor(), cast(Any, defaultdict(lambda: lambda *_: None))
    reconciler = Reconciler(
        store=store,
        planner=b.planner(),
        kubernetes=cast(Any, SimpleNamespace(put=lambda *_, **__: None)),
        questions=cast(Any, SimpleNamespace(ask=lambda _: None)),
        actor=cast(Any, actor),
        slots=LaunchSlots(store, 8, lambda key: None),
        watch=nothing["watch"],
        wake=nothing["wake"],
        wake_after=nothing["wake_after"],
        clock=lambda: b.NOW,
    )
    with pytest.raises(LookupError, match="a bug"):
        await reconciler.reconcile(KEY)
    (status,) = actor.statuses
    launched = [bool(one["ledger"].get("launchedAt")) for one in status["instances"]]
    assert launched == [False, True]
