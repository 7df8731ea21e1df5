"""The proxy is made as often as it has to be, and not more often."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import World
from deepseek_operator.kube.errors import KubeConflictError, KubeError, KubeRejectedError, KubeUnavailableError
from deepseek_operator.launch.proxy import ProxySettings, ProxySpec
from deepseek_operator.reconcile.actions import ApplyProxy, PublishEndpoints
from deepseek_operator.runtime.publish import (
    CONTESTED_S,
    PROXY_AGAIN_S,
    PROXY_PENDING_AGAIN_S,
    PROXY_REFUSED_AGAIN_S,
    Publisher,
)
from deepseek_operator.runtime.secrets import OwnSecrets
from tests.unit.reconcile import builders as b

APPLY = ApplyProxy(ProxySpec("r1", b.UID, "serving", "/health", ProxySettings()))
REFUSED = KubeRejectedError("Deployment r1-proxy: exceeded quota")


class Stage:
    """A Kubernetes that answers with an error, or takes everything, and a clock."""

    def __init__(self) -> None:
        self.error: KubeError | None = None
        self.asked = 0
        self.made: list[str] = []
        self.now: datetime = b.NOW
        nothing = cast(Any, SimpleNamespace(put=lambda *_, **__: None))
        store = Store(lambda key: None)
        own = OwnSecrets(cast(Any, self), store, lambda: self.now)
        self.publisher = Publisher(cast(Any, self), own, store, nothing, lambda: self.now)
        self.world: World = b.world(b.rented_deployment())

    async def apply_proxy(self, deployment: DeepSeekDeployment, spec: ProxySpec) -> list[Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return []

    async def ensure_secret(self, deployment: DeepSeekDeployment, name: str, type_: str, data: Any) -> Any:
        self.made.append(name)
        return {"data": data}

    async def apply_endpoints(self, *_: Any, **__: Any) -> dict[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {}

    async def publish(self) -> None:
        await self.publisher.publish(self.world, APPLY)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def test_a_proxy_is_applied_again_after_some_seconds_without_pods() -> None:
    stage = Stage()
    await stage.publish()
    stage.later(PROXY_AGAIN_S / 2)
    await stage.publish()
    assert stage.asked == 1
    stage.later(PROXY_AGAIN_S)
    await stage.publish()
    assert stage.asked == 2


async def test_pods_that_do_not_start_get_their_secrets_again_after_a_while() -> None:
    stage = Stage()
    spec = replace(APPLY.spec, encrypted=True, api_key=api_key_secret("r1"))
    await stage.publisher.publish(stage.world, ApplyProxy(spec))
    assert stage.made == ["r1-ca", "r1-api-key"], "before its pods"
    stage.later(PROXY_PENDING_AGAIN_S / 2)
    await stage.publisher.publish(stage.world, ApplyProxy(spec, pending=True))
    assert stage.asked == 1
    stage.later(PROXY_PENDING_AGAIN_S)
    await stage.publisher.publish(stage.world, ApplyProxy(spec, pending=True))
    assert (stage.asked, len(stage.made)) == (2, 4)


async def test_what_was_refused_stays_told_between_two_attempts() -> None:
    stage = Stage()
    stage.error = REFUSED
    for _ in range(2):
        with pytest.raises(KubeRejectedError, match="exceeded quota"):
            await stage.publish()
        stage.later(PROXY_REFUSED_AGAIN_S / 2)
    assert stage.asked == 1
    stage.error = None
    stage.later(PROXY_REFUSED_AGAIN_S / 2)
    await stage.publish()
    assert stage.asked == 2


async def test_an_api_server_that_is_away_is_asked_again_at_once() -> None:
    stage = Stage()
    stage.error = KubeUnavailableError("timed out")
    for asked in (1, 2):
        with pytest.raises(KubeUnavailableError):
            await stage.publish()
        assert stage.asked == asked


LEAD = PublishEndpoints("r1-8000", (Address("10.0.0.1", 8000),), ("http",))
LEAD_ELSEWHERE = replace(LEAD, addresses=(Address("10.0.0.2", 8000),))


async def test_the_same_change_is_not_made_twice_in_a_moment() -> None:
    stage = Stage()
    await stage.publisher.publish(stage.world, LEAD)
    stage.later(CONTESTED_S / 2)
    with pytest.raises(KubeConflictError, match="somebody else changes r1-8000"):
        await stage.publisher.publish(stage.world, LEAD)
    stage.later(CONTESTED_S / 2)
    await stage.publisher.publish(stage.world, LEAD)
    assert stage.asked == 2


async def test_a_change_that_was_taken_back_by_ourselves_is_made_again_at_once() -> None:
    stage = Stage()
    for action in (LEAD, LEAD_ELSEWHERE, LEAD):
        await stage.publisher.publish(stage.world, action)
    assert stage.asked == 3


async def test_a_change_that_failed_is_made_again_at_once() -> None:
    stage = Stage()
    stage.error = KubeUnavailableError("timed out")
    with pytest.raises(KubeUnavailableError):
        await stage.publisher.publish(stage.world, LEAD)
    stage.error = None
    await stage.publisher.publish(stage.world, LEAD)
    assert stage.asked == 2


@pytest.mark.parametrize("again", ["forgotten", "another one of the same name"])
async def test_a_deployment_that_is_made_again_gets_its_proxy_at_once(again: str) -> None:
    stage = Stage()
    await stage.publish()
    key = stage.world.deployment.key
    if again == "forgotten":
        stage.publisher.forget(key)
    else:
        metadata = stage.world.deployment.metadata.model_copy(update={"uid": "11111111-4e5f-6789-abcd-ef0123456789"})
        stage.world = b.world(stage.world.deployment.model_copy(update={"metadata": metadata}))
    await stage.publish()
    assert stage.asked == 2
