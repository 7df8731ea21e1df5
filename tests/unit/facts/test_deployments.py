"""Deployments as the API server sends them: what is read again, and what is kept."""

from typing import Any

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.facts.deployments import Deployments
from tests.unit.reconcile import builders as b


def body(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "r1", "namespace": "serving", "uid": b.UID}
    return {"metadata": metadata, "spec": {**b.CPU_SPEC, **spec}}


class TestASpec:
    def test_that_comes_as_it_was_is_not_read_again(self) -> None:
        deployments = Deployments()
        first, _ = deployments.put(body())
        again, before = deployments.put(body() | {"status": {"replicas": 1}})
        assert again.deployment.spec is first.deployment.spec
        assert again.deployment.status.replicas == 1
        assert before is first

    def test_that_has_changed_is_read(self) -> None:
        deployments = Deployments()
        deployments.put(body())
        after, _ = deployments.put(body(replicas=3))
        assert after.deployment.spec.replicas == 3

    def test_that_cannot_be_read_is_so_each_time(self) -> None:
        deployments = Deployments()
        first, _ = deployments.put(body(replicas="two"))
        again, _ = deployments.put(body(replicas="two"))
        assert first.problem == again.problem != ""
        mended, _ = deployments.put(body(replicas=2))
        assert (mended.problem, mended.deployment.spec.replicas) == ("", 2)


class TestAStatus:
    def test_that_comes_as_it_was_stays_one_object(self) -> None:
        deployments = Deployments()
        first, _ = deployments.put(body() | {"status": {"replicas": 1}})
        again, _ = deployments.put(body(replicas=3) | {"status": {"replicas": 1}})
        assert again.deployment.status is first.deployment.status
        other, _ = deployments.put(body() | {"status": {"replicas": 2}})
        assert other.deployment.status.replicas == 2

    def test_that_comes_as_it_was_sent_is_the_one_that_was_sent(self) -> None:
        deployments = Deployments()
        stored, _ = deployments.put(body())
        sent = DeepSeekDeploymentStatus(replicas=1)
        deployments.put_unsaved(stored.deployment, sent)
        echo, _ = deployments.put(body() | {"status": {"replicas": 1}})
        assert echo.deployment.status is sent
