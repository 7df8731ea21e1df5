"""apply -> SkyPilot -> engine -> tokens -> delete leaves nothing."""

import json
import re
import time
from typing import Any

import pytest

from tests.e2e.conftest import Tenant
from tests.system.demo import chat
from tests.system.stack import wait_ready
from tests.system.wait import eventually

ON_THE_WAY = ["Launching", "EngineStarting", "PublishingEndpoint", "Ready"]


def text(answer: dict[str, Any]) -> tuple[str, str]:
    """The thought and the answer of a chat completion."""
    message = answer["choices"][0]["message"]
    return message.get("reasoning") or "", message.get("content") or ""


def test_a_model_comes_up_answers_and_leaves_nothing(tenant: Tenant) -> None:
    began = time.monotonic()
    created = tenant.apply()
    seen: list[tuple[str, str]] = []
    body = wait_ready(tenant.kubectl, "tiny", within=300, changed=lambda reason, said: seen.append((reason, said)))
    print(f"apply to Ready: {time.monotonic() - began:.1f} s")

    # Reason moves through distinct, true steps, and never back.
    reasons = list(dict.fromkeys(reason for reason, _ in seen if reason in ON_THE_WAY))
    assert reasons == [step for step in ON_THE_WAY if step in reasons]
    assert {"Launching", "EngineStarting", "Ready"} <= set(reasons)
    assert any(
        re.search("launch|provision|pod|instance", said, re.IGNORECASE)
        for reason, said in seen
        if reason == "Launching"
    )

    # It answers by DNS name, under the name that the user wrote, and the thought is split off.
    url = body["status"]["endpoint"]["internalURL"]
    assert url == f"http://tiny.{tenant.namespace}.svc:8000/v1"
    answer = chat(tenant.stack, tenant.namespace, url, "deepseek-ai/DeepSeek-R1")
    assert answer["usage"]["completion_tokens"] > 0
    thought, said = text(answer)
    assert thought, f"the reasoning parser split nothing off: {said!r}"

    # It reads well.
    wide = tenant.kubectl("get", "dsd", "-o", "wide")
    assert re.search(
        r"NAME\s+MODEL\s+READY\s+REASON\s+DESIRED\s+AVAILABLE\s+ACCELERATORS\s+\$/H\s+AGE\s+ENDPOINT", wide
    )
    assert re.search(r"tiny\s+deepseek-ai/DeepSeek-R1\s+True\s+Ready\s+1\s+1\s+0.00", wide)
    assert "GPUs of one node" in tenant.kubectl("explain", "dsd.spec.resources")
    described = tenant.kubectl("describe", "dsd", "tiny")
    assert all(reason in described for reason in ("Launching", "EngineStarting", "Ready"))

    # The plugin says the same without a second tool.
    tree = tenant.deepseek("status", "tiny")
    assert re.search(r"tiny\s+Ready 1/1\s+Ready", tree)
    assert re.search(r"head\s+Running", tree), "the pod is a leaf of the tree"
    assert tenant.deepseek("endpoint", "tiny").strip() == url
    assert "Ready" in tenant.deepseek("events", "tiny")
    assert "GET /health" in tenant.deepseek("logs", "tiny", "--tail", "50", "--probes"), "the engine's own log"
    assert "Application startup complete" in (log := tenant.deepseek("logs", "tiny", "--tail", "50"))
    assert "GET /health" not in log
    assert tenant.deepseek("chat", "tiny", "--message", "Who are you?", "--max-tokens", "12", "-o", "json")
    assert json.loads(tenant.deepseek("bench", "tiny", "-c", "1", "--requests", "2", "--max-tokens", "8", "-o", "json"))
    assert "0 faults" in tenant.deepseek("doctor")

    tenant.delete()
    tenant.expect_nothing_left(created)


def test_ready_is_never_true_before_the_engine_answers(tenant: Tenant) -> None:
    tenant.apply(model={"name": "tiny-qwen2", "path": "/models/tiny-qwen2"})
    claims: list[bool] = []

    def look() -> bool:
        body = tenant.get()
        conditions = {c["type"]: c["status"] for c in (body.get("status") or {}).get("conditions", [])}
        if conditions.get("Ready") == "True":
            answer = chat(tenant.stack, tenant.namespace, body["status"]["endpoint"]["internalURL"], "tiny-qwen2")
            claims.append(answer["usage"]["completion_tokens"] > 0)
            return True
        instances = (body.get("status") or {}).get("instances", [])
        assert all(instance["phase"] != "Ready" for instance in instances) or conditions.get("Ready") == "False"
        return False

    eventually(look, within=300, what="Ready", every=0.3)
    assert claims == [True], "the first request after Ready was not answered"


def test_two_nodes_share_one_model_and_the_endpoint_leads_to_the_head(tenant: Tenant) -> None:
    created = tenant.apply(resources={"accelerators": [], "cpus": "0.5+", "memory": "2+", "nodes": 2})
    body = tenant.wait_ready(within=420)
    assert body["status"]["plan"]["tensorParallelSize"] == 2

    pods = tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={created['metadata']['uid']}")
    roles = {pod["metadata"]["labels"]["skypilot-head-node"]: pod["status"]["podIP"] for pod in pods}
    assert set(roles) == {"0", "1"}
    (endpoints,) = tenant.kubectl.get("endpointslices", labels="kubernetes.io/service-name=tiny")
    assert [endpoint["addresses"] for endpoint in endpoints["endpoints"]] == [[roles["1"]]]
    lines = tenant.deepseek("logs", "tiny", "--tail", "5").splitlines()
    assert {line.split()[0] for line in lines} == {"[0/head]", "[0/worker1]"}, "each node has an engine's log"

    answer = chat(tenant.stack, tenant.namespace, body["status"]["endpoint"]["internalURL"], "deepseek-ai/DeepSeek-R1")
    assert answer["usage"]["completion_tokens"] > 0
    tenant.delete()
    tenant.expect_nothing_left(created)


def test_a_deployment_deleted_in_mid_launch_leaves_nothing(tenant: Tenant) -> None:
    created = tenant.apply()
    uid = created["metadata"]["uid"]
    eventually(
        lambda: tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}"),
        within=120,
        what="a pod is coming up",
    )
    tenant.delete()
    tenant.expect_nothing_left(created)


@pytest.mark.parametrize("when", ["at once", "while it waits for a Secret"])
def test_a_deployment_deleted_before_anything_was_launched_leaves_nothing(tenant: Tenant, when: str) -> None:
    if when == "at once":
        created = tenant.apply()
    else:
        created = tenant.apply(endpoint={"apiKeySecretRef": {"name": "nobody-made-it"}})
        tenant.wait_reason("SecretNotFound")
    tenant.delete()
    tenant.expect_nothing_left(created)
