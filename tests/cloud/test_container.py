"""A real vLLM in a container on a rented machine: SkyPilot's own way to run an image there, and the engine's own TLS.

The machine's container engine is podman under Docker's name. vLLM runs on the CPU, with a tiny model of random weights.
The user gave a key, so every client needs it. First, two machines share one model.
"""

import time
from collections.abc import Iterator

import pytest

from tests.cloud.client import Client
from tests.cloud.tenant import API_KEY, Tenant, question
from tests.cluster.images import reference_of

pytestmark = pytest.mark.cluster

MODEL = "tiny-qwen2"
REAL = {"name": "VLLM", "runtime": "Image", "image": reference_of("engine-cpu"), "maxModelLen": 1024}
NO_GPU = {"accelerators": [], "cpus": "2+", "memory": "8+"}


def test_two_machines_share_one_real_model_and_answer_at_the_address_in_the_cluster(tenant: Tenant) -> None:
    began = time.monotonic()
    model = {"name": MODEL, "path": f"/models/{MODEL}"}
    tenant.apply("halves", model=model, engine=REAL, resources={**NO_GPU, "nodes": 2})
    body = tenant.until_ready("halves")
    print(f"\nfigure: apply to Ready, real vLLM on two machines at once: {time.monotonic() - began:.1f} s")
    assert body["status"]["plan"]["tensorParallelSize"] == 2
    assert len(tenant.cloud.instances()) == 2
    client = Client(tenant.kubectl, reference_of("engine-stub"))
    # The first request compiles on both: a minute on a machine that is busy with other things.
    url = f"{tenant.url('halves')}/chat/completions"
    status, answer = client.post(url, question("Once upon a time", MODEL), within=300)
    assert status == 200
    assert answer["usage"]["completion_tokens"] > 0
    client.remove()
    tenant.delete("halves")
    tenant.expect_nothing_rented()


@pytest.fixture(scope="module")
def vllm(tenant: Tenant) -> Iterator[Tenant]:
    """A deployment of vLLM on one machine without GPUs, ready."""
    began = time.monotonic()
    tenant.apply(
        "vllm",
        model={"name": MODEL, "path": f"/models/{MODEL}"},
        engine=REAL,
        resources=NO_GPU,
        endpoint={"apiKeySecretRef": {"name": "engine-key", "key": "token"}},
    )
    tenant.until_ready("vllm")
    print(f"\nfigure: apply to Ready, real vLLM in a container on a machine: {time.monotonic() - began:.1f} s")
    yield tenant
    tenant.delete("vllm")
    tenant.expect_nothing_rented()


def test_real_vllm_on_a_machine_answers_clients_in_the_cluster_that_have_the_users_key(vllm: Tenant) -> None:
    assert vllm.instance("vllm")["infra"] == "aws"
    client = Client(vllm.kubectl, reference_of("engine-stub"))
    url = f"{vllm.url('vllm')}/chat/completions"
    status, answer = client.post(url, question("Once upon a time", MODEL), key=API_KEY)
    assert status == 200
    assert answer["usage"]["completion_tokens"] > 0
    assert client.post(url, question("Once upon a time", MODEL))[0] == 401
    client.remove()


def test_real_vllm_speaks_tls_with_the_certificate_of_its_replica(vllm: Tenant) -> None:
    assert vllm.ask_machine("vllm", key=API_KEY) == 200
    assert vllm.ask_machine("vllm") == 401
    # vLLM itself asks for the key below /v1 only, and says 405 here.
    assert vllm.ask_machine("vllm", path="/invocations") == 401
    assert vllm.ask_machine("vllm", path="/health") == 200
    with pytest.raises(OSError, match=r"closed without an answer|reset"):
        vllm.ask_machine("vllm", key=API_KEY, scheme="http")
