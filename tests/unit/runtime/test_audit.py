"""The audit in the operator: what nobody owns is counted after a while, under the id that the server files it under."""

import asyncio

from prometheus_client import REGISTRY

from deepseek_operator.facts.store import Store
from deepseek_operator.runtime.audit import GRACE_S, PERIOD_S, AuditLoop
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.simulation.clock import run_virtually
from tests.unit.reconcile import builders as b

LEFT = b.row(b.named("gone-ffffffff-0badbeef-0"), cloud="AWS", user="sa-0123456789abcdef")
OTHERS = b.row(b.named("other-ffffffff-0badbeef-0"), cloud="AWS", user="d5ee9000")


def counted() -> float:
    return REGISTRY.get_sample_value("deepseek_operator_orphaned_clusters") or 0.0


def test_what_nobody_owns_is_counted_after_a_while_and_as_long_as_it_is_there() -> None:
    store = Store(lambda key: None)
    store.put_snapshot(store.ask_snapshot(), b.NOW, {one.name: one for one in (LEFT, OTHERS)}, {})
    away = False
    error: Exception

    async def user() -> str:
        if away:
            raise error
        return LEFT.user

    async def story() -> None:
        nonlocal away, error
        task = asyncio.create_task(AuditLoop(store, user, lambda: True).run())
        await asyncio.sleep(GRACE_S - 1)
        assert counted() == 0
        await asyncio.sleep(PERIOD_S)
        assert counted() == 1
        away = True
        error = AttributeError("'list' object has no attribute 'get'")  # an answer that nobody foresaw
        await asyncio.sleep(PERIOD_S)
        error = SkyPilotUnavailableError("the SkyPilot API server does not answer")
        store.put_snapshot(store.ask_snapshot(), b.NOW, {}, {})
        await asyncio.sleep(2 * PERIOD_S)
        assert counted() == 1, "nobody could say whose they are"
        away = False
        await asyncio.sleep(2 * PERIOD_S)
        assert counted() == 0
        task.cancel()

    run_virtually(story())


def test_nothing_is_called_orphaned_while_the_deployments_of_a_namespace_are_not_known() -> None:
    store = Store(lambda key: None)
    store.put_snapshot(store.ask_snapshot(), b.NOW, {LEFT.name: LEFT}, {})
    complete = False

    async def user() -> str:
        return LEFT.user

    async def story() -> None:
        nonlocal complete
        task = asyncio.create_task(AuditLoop(store, user, lambda: complete).run())
        await asyncio.sleep(2 * GRACE_S)
        assert counted() == 0
        complete = True
        await asyncio.sleep(GRACE_S)
        assert counted() == 0, "its owner may only be late"
        await asyncio.sleep(2 * PERIOD_S)
        assert counted() == 1
        task.cancel()

    run_virtually(story())
