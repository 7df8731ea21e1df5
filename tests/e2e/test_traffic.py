"""A steady client through planned changes: no request fails, no stream is cut. Through a crash: only some seconds'."""

import json
import time
from typing import Any

from tests.e2e.conftest import Tenant
from tests.e2e.test_chaos import ENGINE
from tests.system.traffic import Traffic, expect_no_failures
from tests.system.wait import eventually

MODEL = "deepseek-ai/DeepSeek-R1"
DETECTION_S = 10.0
"""Seconds in which requests may fail after an engine was killed. It is 3 where the machine has nothing else to do: the
length that was seen is printed."""


def settled(tenant: Tenant, replicas: int) -> bool:
    """Whether the change is complete: nothing is left of older replicas."""
    body = tenant.get()
    status = body.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    return (
        status.get("observedGeneration") == body["metadata"]["generation"]
        and len(status.get("instances") or []) == replicas
        and (conditions.get("Ready"), conditions.get("Reconciling")) == ("True", "False")
    )


def until_settled(tenant: Tenant, replicas: int) -> None:
    """Wait until a change is complete."""
    eventually(lambda: settled(tenant, replicas) or None, within=600, what=f"settled with {replicas} replicas")


def test_planned_changes_cost_no_request_and_a_crash_only_those_in_its_window(tenant: Tenant) -> None:
    created = tenant.apply(replicas=2)
    until_settled(tenant, 2)

    traffic = Traffic(tenant.kubectl, tenant.stack.engine_image, "tiny", 8000, MODEL)
    update: dict[str, Any] = {"engine": {"env": [{"name": "UPDATED", "value": "1"}]}}
    tenant.apply(replicas=2, **update)
    until_settled(tenant, 2)
    tenant.kubectl("scale", "dsd/tiny", "--replicas=1")
    until_settled(tenant, 1)

    # Back to two replicas, and all of them on another port: the clients move while the Service has both.
    tenant.apply(replicas=2, endpoint={"port": 9000}, **update)
    eventually(lambda: service_ports(tenant) == {8000, 9000} or None, within=60, what="the Service has both ports")
    newcomer = Traffic(tenant.kubectl, tenant.stack.engine_image, "tiny", 9000, MODEL)
    expect_no_failures(traffic)
    until_settled(tenant, 2)
    expect_no_failures(newcomer)
    assert service_ports(tenant) == {9000}
    assert tenant.get()["status"]["endpoint"]["internalURL"].endswith(":9000/v1")

    crash = Traffic(tenant.kubectl, tenant.stack.engine_image, "tiny", 9000, MODEL)
    (pod, *_) = tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={created['metadata']['uid']}")
    killed = time.time()
    tenant.kubectl("exec", pod["metadata"]["name"], "--", "pkill", "-KILL", "-f", ENGINE)
    eventually(lambda: not settled(tenant, 2) or None, within=60, what="the operator has seen it")
    eventually(lambda: time.time() > killed + 3 * DETECTION_S or None, within=60, what="the window is over")
    crash.stop()
    failures = [json.loads(line)["at"] - killed for line in crash.log().splitlines() if '"error"' in line]
    print(f"engine killed: {len(failures)} requests failed, the last {max(failures, default=0):.1f} s after it")
    assert max(failures, default=0) < DETECTION_S

    tenant.delete(within=120)
    tenant.expect_nothing_left(created)


def service_ports(tenant: Tenant) -> set[int]:
    """Ports of the Service."""
    return {port["port"] for port in tenant.kubectl.get("service", "tiny")["spec"]["ports"]}
