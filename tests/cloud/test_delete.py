"""A deployment is deleted in each state that costs money or is about to: nothing of it is left at the provider.

Deleted while it serves: test_rented.py and others, in the end.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.tenant import Tenant
from tests.cloud.world import STATE
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

WITHIN_S = 600.0
DEAD, RECLAIMED, AWAY = "dead", "reclaimed", "away"
"""Three deployments that serve before something happens to them."""


def machines(tenant: Tenant, name: str) -> list[dict[str, Any]]:
    """Return the machines of a deployment that cost money."""
    return [one for one in tenant.cloud.instances() if one["tags"].get("deepseek-operator-name") == name]


def expect_nothing_of(tenant: Tenant, name: str) -> None:
    """Expect that EC2 has neither a machine nor a security group of a deployment."""
    assert machines(tenant, name) == []
    assert [group for group in tenant.cloud.groups() if name in group] == []


def pending(tenant: Tenant, name: str) -> bool:
    """Return whether the provider has not started the machine yet."""
    return [one["state"] for one in machines(tenant, name)] == ["pending"]


def mute(tenant: Tenant, name: str) -> bool:
    """Return whether a machine runs, as the provider says; nobody answers there."""
    return [one["state"] for one in machines(tenant, name)] == ["running"]


def being_set_up(tenant: Tenant, name: str) -> bool:
    """Return whether SkyPilot has begun to write to the machine."""
    return any(
        (STATE / "ec2/machines" / one["id"] / "upper/home/ubuntu/.sky").exists() for one in machines(tenant, name)
    )


def waits_to_try_again(tenant: Tenant, name: str) -> bool:
    """Return whether a launch has failed, and the next one is due later."""
    instance = tenant.instance(name)
    return instance.get("reason") == "NoCapacity" and bool(instance.get("retryAfter"))


@pytest.mark.parametrize(
    ("name", "fault", "reached"),
    [
        ("refused", {"code": "InsufficientInstanceCapacity"}, waits_to_try_again),
        ("pending", {"boot": "stuck"}, pending),
        ("mute", {"boot": "bare"}, mute),
        ("half-set-up", None, being_set_up),
    ],
)
def test_a_launch_that_is_deleted_leaves_nothing(
    tenant: Tenant, name: str, fault: dict[str, Any] | None, reached: Callable[[Tenant, str], bool]
) -> None:
    tenant.cloud.faults(*([fault] if fault is not None else []))
    tenant.apply(name)
    eventually(lambda: reached(tenant, name), within=WITHIN_S, what=f"{name} is reached", every=0.1)
    tenant.delete(name)
    tenant.expect_nothing_rented()


@pytest.fixture(scope="module")
def serving(tenant: Tenant) -> Iterator[Tenant]:
    """Three deployments with a machine each, launched side by side, ready."""
    tenant.cloud.faults()
    for name in (DEAD, RECLAIMED, AWAY):
        tenant.apply(name, resources={"capacityType": "Spot"})
    for name in (DEAD, RECLAIMED, AWAY):
        tenant.until_ready(name)
    yield tenant
    tenant.expect_nothing_rented()


def test_a_machine_that_died_without_a_word_is_given_back(serving: Tenant) -> None:
    (machine,) = machines(serving, DEAD)
    serving.cloud.control("kill", {"wanted": {"id": machine["id"]}})
    eventually(lambda: serving.condition(DEAD).get("status") == "False", within=60, what="its silence is seen")
    assert [one["id"] for one in machines(serving, DEAD)] == [machine["id"]], "the provider says that it runs"
    serving.delete(DEAD)
    expect_nothing_of(serving, DEAD)


def test_a_replica_that_is_being_replaced_leaves_neither_the_old_nor_the_new_machine(serving: Tenant) -> None:
    (machine,) = machines(serving, RECLAIMED)
    serving.cloud.control("reclaim", {"wanted": {"id": machine["id"]}})

    def successor() -> bool:
        found = {one["id"] for one in machines(serving, RECLAIMED)}
        return bool(found - {machine["id"]})

    eventually(successor, within=WITHIN_S, what="its successor is rented", every=0.1)
    serving.delete(RECLAIMED)
    expect_nothing_of(serving, RECLAIMED)


def test_a_deletion_waits_for_a_skypilot_server_that_is_away(serving: Tenant) -> None:
    serving.cloud.kill_skypilot()
    serving.kubectl("delete", "dsd", AWAY, "--wait=false")

    def says_why() -> bool:
        body = serving.get(AWAY)
        assert body is not None, "the object went while its machine runs"
        return "SkyPilot" in serving.condition(AWAY).get("message", "")

    eventually(says_why, within=60, what="the status says what it waits for")
    assert len(machines(serving, AWAY)) == 1
    serving.cloud.start_skypilot()
    eventually(lambda: serving.get(AWAY) is None, within=WITHIN_S, what="the object is gone")
    expect_nothing_of(serving, AWAY)
