"""What a launch refers to in Kubernetes is there before the launch, also where somebody has deleted it."""

import base64
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from cryptography import x509

from deepseek_operator.facts.base import Known
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import authority_question
from deepseek_operator.launch.script import TLS_VARIABLE
from deepseek_operator.runtime.tasks import TaskMaker
from tests.unit.reconcile import builders as b

IN_CLUSTER = b.deployment()
RENTED = b.rented_deployment()


@dataclass
class Cluster:
    """What a namespace holds, by name."""

    objects: dict[str, Any] = field(default_factory=dict)

    async def apply_service_account(self, deployment: Any) -> Any:
        return self.objects.setdefault("r1-engine", {})

    async def ensure_secret(self, deployment: Any, name: str, type_: str, data: dict[str, str]) -> Any:
        return self.objects.setdefault(name, {"data": data})

    async def secret_value(self, namespace: str, reference: Any) -> str:
        return "sesame"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def store() -> Store:
    store = Store(lambda key: None)
    store.put_deployment(RENTED.model_dump(mode="json", by_alias=True))
    return store


@pytest.fixture
def maker(cluster: Cluster, store: Store) -> TaskMaker:
    return TaskMaker(cast(Any, cluster), cluster, store, clock=lambda: b.NOW)


async def launch(maker: TaskMaker, of: Any, ordinal: int = 0) -> Any:
    return await maker.make(of, b.planned(of), b.name(of, ordinal))


async def test_an_account_that_somebody_has_deleted_is_there_again_with_the_next_launch(
    maker: TaskMaker, cluster: Cluster
) -> None:
    await launch(maker, IN_CLUSTER)
    del cluster.objects["r1-engine"]
    await launch(maker, IN_CLUSTER)
    assert "r1-engine" in cluster.objects


def authority(store: Store) -> str:
    answer = store.authority(RENTED)
    assert isinstance(answer, Known)
    return str(answer.value)


def certificate_of(task: Any) -> x509.Certificate:
    pem = base64.b64decode(task.task["secrets"][TLS_VARIABLE])
    return x509.load_pem_x509_certificate(pem)


async def test_engines_of_a_deleted_authority_are_believed_beside_those_of_the_next_one(
    maker: TaskMaker, cluster: Cluster, store: Store
) -> None:
    old = certificate_of(await launch(maker, RENTED))
    del cluster.objects["r1-ca"]
    new = certificate_of(await launch(maker, RENTED, 1))
    believed = x509.load_pem_x509_certificates(authority(store).encode())
    assert len(believed) == 2
    new.verify_directly_issued_by(believed[0])
    old.verify_directly_issued_by(believed[1])
    kept = base64.b64decode(cluster.objects["r1-ca"]["data"]["tls.crt"]).decode()
    assert kept == authority(store), "what the pods of the proxy mount"


async def test_one_authority_signs_for_all_replicas(maker: TaskMaker, store: Store) -> None:
    await launch(maker, RENTED)
    (first,) = x509.load_pem_x509_certificates(authority(store).encode())
    certificate_of(await launch(maker, RENTED, 1)).verify_directly_issued_by(first)


async def test_an_authority_of_nobody_known_is_followed_by_one_alone(
    maker: TaskMaker, cluster: Cluster, store: Store
) -> None:
    await launch(maker, RENTED)
    del cluster.objects["r1-ca"]
    store.put_answer(authority_question(RENTED), Known("", b.NOW))  # as after a restart of the operator
    await launch(maker, RENTED)
    assert len(x509.load_pem_x509_certificates(authority(store).encode())) == 1
