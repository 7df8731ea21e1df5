"""When the condition EndpointPublished holds, and that Ready needs an answer through the Service."""

from dataclasses import replace

import pytest

from deepseek_operator.facts.base import Probe
from deepseek_operator.reconcile.actions import PublishEndpoints
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import AT, conditions


def test_a_replica_that_answers_is_published_before_the_deployment_is_ready() -> None:
    decision, status = b.step(replace(b.serving(b.deployment()), endpoints=()))
    assert decision.publish == (PublishEndpoints("r1-8000", (AT,), ("http",)),)
    assert decision.actions == ()
    assert conditions(status)["Ready"] == ("True", "Ready")  # the Service itself was probed a moment ago


@pytest.mark.parametrize("probe", [None, Probe(False, b.NOW, "connection refused")], ids=["not asked", "refused"])
def test_ready_needs_an_answer_through_the_service(probe: Probe | None) -> None:
    world = b.serving(b.deployment())
    probes = {AT: world.probes[AT]} if probe is None else {**world.probes, b.SERVICE: probe}
    _, status = b.step(replace(world, probes=probes))
    assert conditions(status)["Ready"] == ("False", "PublishingEndpoint")


def test_a_foreign_service_of_the_same_name_is_left_alone_and_reported() -> None:
    decision, status = b.step(b.world(b.deployment(), service=None, service_conflict=True))
    assert decision.actions == ()
    assert conditions(status)["Ready"] == ("False", "ServiceConflict")
