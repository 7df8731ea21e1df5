"""What a launch refers to in Kubernetes is there before the launch, also where somebody has deleted it."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from deepseek_operator.facts.store import Store
from deepseek_operator.runtime.tasks import TaskMaker
from tests.unit.reconcile import builders as b

IN_CLUSTER = b.deployment()


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
    return Store(lambda key: None)


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
