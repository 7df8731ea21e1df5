"""When the condition EndpointPublished holds, and that Ready needs an answer through the Service."""

from dataclasses import replace

import pytest

from deepseek_operator.facts.base import Probe
from deepseek_operator.reconcile.actions import PublishEndpoints
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import LAUNCHING, Case, check, condition
from tests.unit.reconcile.decisions import AT, conditions

CASES = [
    Case("nothing answers", LAUNCHING, "EndpointPublished", ("False", "NoReadyReplicas"), "no replica answers"),
    Case(
        "the Service does not answer",
        replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **b.silent(b.SERVICE)}),
        "EndpointPublished",
        ("False", "EndpointUnreachable"),
        "the Service does not answer yet at",
    ),
    Case("the Service answers", b.serving(b.deployment()), "EndpointPublished", ("True", "EndpointPublished")),
    Case(
        "a Service of someone else is in the way",
        b.world(b.deployment(), service=None, service_conflict=True),
        "EndpointPublished",
        ("False", "ServiceConflict"),
        "Service r1",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_condition(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("seconds", "reason", "looks"),
    [(9, "PublishingEndpoint", 5.0), (10, "EndpointUnreachable", None), (3600, "EndpointUnreachable", None)],
)
def test_a_service_that_does_not_answer_says_how_and_soon_that_it_wants_help(
    seconds: int, reason: str, looks: float | None
) -> None:
    silent = {b.SERVICE: Probe(False, b.ago(seconds), "refused")}
    world = replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **silent})
    decision, status = b.step(world)
    words = f"the Service does not answer {'yet ' if looks else ''}at {b.SERVICE}{'' if looks else ': refused'}"
    assert condition(status) == ("False", reason, words)
    assert condition(status, "EndpointPublished") == ("False", "EndpointUnreachable", words)
    assert decision.next_look_s == looks, "nothing else wakes it when the time is over"


def test_a_service_that_has_just_answered_is_not_looked_at_again() -> None:
    answers = {b.SERVICE: Probe(True, b.ago(1))}
    world = replace(b.serving(b.deployment()), probes={AT: b.answering(AT)[AT], **answers})
    assert b.step(world)[0].next_look_s is None


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
