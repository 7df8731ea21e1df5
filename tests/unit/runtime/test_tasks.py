"""What a launch refers to in Kubernetes is there before the launch, also where somebody has deleted it."""

import base64
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from cryptography import x509
from pydantic import SecretStr

from deepseek_operator.facts.base import Known
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import api_key_question, authority_question
from deepseek_operator.launch.script import TLS_VARIABLE
from deepseek_operator.runtime.secrets import OwnSecrets
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
        kept = self.objects.get(reference.name)
        return base64.b64decode(kept["data"][reference.key]).decode() if kept is not None else "sesame"


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
    return TaskMaker(
        cast(Any, cluster), cluster, OwnSecrets(cast(Any, cluster), store, lambda: b.NOW), clock=lambda: b.NOW
    )


async def launch(maker: TaskMaker, of: Any, ordinal: int = 0) -> Any:
    return await maker.make(of, b.planned(of), b.name(of, ordinal))


async def test_an_account_that_somebody_has_deleted_is_there_again_with_the_next_launch(
    maker: TaskMaker, cluster: Cluster
) -> None:
    await launch(maker, IN_CLUSTER)
    del cluster.objects["r1-engine"]
    await launch(maker, IN_CLUSTER)
    assert "r1-engine" in cluster.objects


_OWN_KEY = RENTED.spec.model_copy(
    update={"endpoint": RENTED.spec.endpoint.model_copy(update={"api_key_secret_ref": None})}
)
KEYLESS = RENTED.model_copy(update={"spec": _OWN_KEY})
"""Its user has given no key."""


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


def key_of(task: Any) -> str:
    return str(task.task["secrets"]["VLLM_API_KEY"])


@pytest.mark.parametrize("gone", [("r1-api-key",), ("r1-ca",), ("r1-api-key", "r1-ca")])
async def test_engines_launched_after_a_secret_was_deleted_ask_for_the_same_key(
    gone: tuple[str, ...], maker: TaskMaker, cluster: Cluster
) -> None:
    before = key_of(await launch(maker, KEYLESS))
    for name in gone:
        del cluster.objects[name]
    assert key_of(await launch(maker, KEYLESS, 1)) == before


async def test_a_key_that_nobody_remembers_follows_from_the_authority(
    maker: TaskMaker, cluster: Cluster, store: Store
) -> None:
    before = key_of(await launch(maker, KEYLESS))
    del cluster.objects["r1-api-key"]
    store.put_answer(api_key_question(KEYLESS), Known(SecretStr(""), b.NOW))  # as after a restart of the operator
    assert key_of(await launch(maker, KEYLESS, 1)) == before


async def test_a_key_that_an_older_operator_made_is_remembered(
    maker: TaskMaker, cluster: Cluster, store: Store
) -> None:
    store.put_answer(api_key_question(KEYLESS), Known(SecretStr("sesame, open"), b.NOW))
    assert key_of(await launch(maker, KEYLESS)) == "sesame, open"


async def test_two_deployments_have_two_keys(maker: TaskMaker, cluster: Cluster) -> None:
    first = key_of(await launch(maker, KEYLESS))
    cluster.objects.clear()
    other = KEYLESS.model_copy(update={"metadata": KEYLESS.metadata.model_copy(update={"uid": "another"})})
    assert key_of(await launch(maker, other)) != first


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
