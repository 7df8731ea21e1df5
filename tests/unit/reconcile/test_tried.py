"""``status.instances[].placesTried``: where launches found nothing, bounded, and told once for each launch."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, PlaceTriedStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Fact, Failure, Known
from deepseek_operator.facts.skypilot import Outcome, PlaceTried, RequestKind
from deepseek_operator.facts.world import ReplicaFacts
from deepseek_operator.reconcile.replica.coming import LAUNCH_GRACE_S
from deepseek_operator.reconcile.replica.view import View
from deepseek_operator.reconcile.tried import KEPT, tried_places
from tests.unit.reconcile import builders as b

DSD = b.rented_deployment("aws", "gcp")
R1 = b.name(DSD)
AWS = PlaceTried("aws/us-east-1", Reason.NO_CAPACITY, "InsufficientInstanceCapacity", "words")
GCP = PlaceTried("gcp/us-central1", Reason.QUOTA_EXCEEDED, "QUOTA_EXCEEDED", "words")


def failed(*tried: PlaceTried, number: int = 1, reason: Reason = Reason.NO_CAPACITY) -> Known[Outcome | None]:
    ended = b.NOW + timedelta(minutes=number)
    return Known(Outcome(f"req-{number}", RequestKind.LAUNCH, ended, Failure(reason, "words"), tried=tried), ended)


def passes(
    *worlds: ReplicaFacts, of: DeepSeekDeployment = DSD, status: DeepSeekDeploymentStatus | None = None
) -> tuple[PlaceTriedStatus, ...]:
    """The places after passes over these facts, each of which sees the status of the one before."""
    current = of if status is not None else b.remembering(of, {R1: b.ledger(infra=None)})
    for known in worlds:
        world = b.world(current, known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
        _, after = b.step(world)
        current = current.model_copy(update={"status": after})
    return current.status.instances[0].places_tried


def shown(places: tuple[PlaceTriedStatus, ...]) -> list[tuple[str, str, str]]:
    return [(one.place, one.reason, one.time[11:16]) for one in places]


def test_a_failed_launch_lists_its_places_in_order() -> None:
    found = passes(b.facts(R1, outcome=failed(AWS, GCP)))
    assert found == (
        PlaceTriedStatus(
            place="aws/us-east-1", reason="NoCapacity", code="InsufficientInstanceCapacity", time="2026-11-24T12:01:00Z"
        ),
        PlaceTriedStatus(
            place="gcp/us-central1", reason="QuotaExceeded", code="QUOTA_EXCEEDED", time="2026-11-24T12:01:00Z"
        ),
    )


def test_seeing_the_same_failure_again_lists_it_once() -> None:
    known = b.facts(R1, outcome=failed(AWS, GCP))
    assert passes(known, known, known) == passes(known)


def test_a_place_that_fails_again_in_the_same_way_moves_to_the_end_with_its_new_time() -> None:
    found = passes(b.facts(R1, outcome=failed(AWS, GCP)), b.facts(R1, outcome=failed(AWS, number=2)))
    assert shown(found) == [("gcp/us-central1", "QuotaExceeded", "12:01"), ("aws/us-east-1", "NoCapacity", "12:02")]


def test_a_place_that_fails_in_another_way_is_listed_with_both() -> None:
    denied = replace(AWS, reason=Reason.NOT_AUTHORIZED, code="UnauthorizedOperation")
    found = passes(b.facts(R1, outcome=failed(AWS)), b.facts(R1, outcome=failed(denied, number=2)))
    assert [one.code for one in found] == ["InsufficientInstanceCapacity", "UnauthorizedOperation"]


def test_what_was_tried_stays_when_the_replica_serves_or_its_outcome_is_forgotten() -> None:
    found = passes(b.facts(R1, outcome=failed(AWS)), b.facts(R1, skypilot=b.AWAY), b.up(R1))
    assert shown(found) == [("aws/us-east-1", "NoCapacity", "12:01")]


def test_machines_that_did_not_come_up_are_listed_after_the_places_that_had_none() -> None:
    left = b.facts(
        R1,
        skypilot=b.seen(b.row(R1, "INIT", cloud="GCP", region="us-central1")),
        outcome=failed(AWS, reason=Reason.LAUNCH_TIMED_OUT),
    )
    assert shown(passes(left)) == [
        ("aws/us-east-1", "NoCapacity", "12:01"),
        ("gcp/us-central1", "LaunchTimedOut", "12:01"),
    ]


def test_a_launch_that_the_operator_gives_up_is_listed_too() -> None:
    running = b.seen(
        b.request(R1, since=LAUNCH_GRACE_S + 999), b.row(R1, "INIT", cloud="AWS", region="us-east-1")
    )  # fmt: skip
    assert shown(passes(b.facts(R1, skypilot=running))) == [("aws/us-east-1", "LaunchTimedOut", "12:00")]


@pytest.mark.parametrize("region", ["", "kind-test"])
def test_the_cluster_of_the_deployment_is_a_place_like_any_other(region: str) -> None:
    of = b.deployment()
    name = b.name(of)
    row = b.row(name, "INIT", region=region)
    known = b.facts(name, skypilot=b.seen(row), outcome=b.failed_launch())
    _, status = b.step(b.world(b.remembering(of, {name: b.ledger()}), known))
    assert [(one.place, one.reason) for one in status.instances[0].places_tried] == [("kubernetes", "Unschedulable")]


def test_an_engine_that_ended_was_no_place_without_machines() -> None:
    ended: Fact[Outcome | None] = Known(
        Outcome("req-5", RequestKind.EXEC, b.NOW, Failure(Reason.LAUNCH_FAILED, "words")), b.NOW
    )
    assert passes(b.facts(R1, outcome=ended)) == ()


def took_elsewhere(*tried: PlaceTried, number: int = 1) -> Known[Outcome | None]:
    ended = b.NOW + timedelta(minutes=number)
    return Known(Outcome(f"req-{number}", RequestKind.LAUNCH, ended, tried=tried), ended)


def test_a_launch_that_found_machines_says_where_it_found_none_before() -> None:
    coming = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS", region="us-west-2")), outcome=took_elsewhere(AWS))
    assert shown(passes(coming, coming)) == [("aws/us-east-1", "NoCapacity", "12:01")]


def test_places_are_listed_with_the_failure_that_is_counted_and_not_before() -> None:
    kept = LEDGER.model_copy(update={"counted": ""})
    assert tried_places(None, View(b.NOW, b.facts(R1, outcome=failed(AWS)), kept), kept) == ()


def test_a_launch_that_found_machines_after_one_that_failed_adds_where_it_found_none() -> None:
    coming = b.facts(
        R1, skypilot=b.seen(b.row(R1, cloud="AWS", region="us-west-2")), outcome=took_elsewhere(GCP, number=2)
    )
    found = passes(b.facts(R1, outcome=failed(AWS)), coming)
    assert shown(found) == [("aws/us-east-1", "NoCapacity", "12:01"), ("gcp/us-central1", "QuotaExceeded", "12:02")]


def test_an_outcome_that_is_older_than_what_is_listed_changes_nothing() -> None:
    up = b.seen(b.row(R1, cloud="AWS", region="us-west-2"))
    worlds = [
        b.facts(R1, outcome=failed(AWS, number=2)),
        b.facts(R1, skypilot=up, outcome=took_elsewhere(GCP, AWS)),
    ]
    assert shown(passes(*worlds)) == [("aws/us-east-1", "NoCapacity", "12:02")]


LEDGER = b.ledger(infra=None, counted="request/req-1", failure_reason="LaunchTimedOut")
UP = {"skypilot": b.seen(b.row(R1, cloud="AWS", region="us-east-1"))}
CHOOSING = {"skypilot": b.seen(b.row(R1, "INIT", cloud=""))}
TWO, ONE = b.planned(DSD), b.planned(b.rented_deployment("gcp/us-central1"))
ENDED = b.NOW + timedelta(minutes=1)


def ended(kind: RequestKind = RequestKind.LAUNCH, failure: Failure | None = None) -> Known[Outcome | None]:
    return Known(Outcome("req-1", kind, ENDED, failure), ENDED)


@pytest.mark.parametrize(
    ("says", "known", "ledger", "plan", "expected"),
    [
        ("its own places", {"outcome": failed(AWS, GCP)}, {"infra": "aws"}, TWO, ["aws/us-east-1", "gcp/us-central1"]),
        ("a place once, with what came last", {**UP, "outcome": failed(AWS)}, {}, TWO, ["aws/us-east-1"]),
        ("a cloud without regions", {"skypilot": b.seen(b.row(R1, cloud="AWS"))}, {}, TWO, ["aws"]),
        ("where it was, as long as nobody knows how it ended", {**UP, "outcome": b.AWAY}, {}, TWO, ["aws/us-east-1"]),
        ("not how another one ended", {**UP, "outcome": failed(GCP, number=2)}, {}, TWO, ["aws/us-east-1"]),
        ("nothing of a launch that succeeded", {**UP, "outcome": ended()}, {}, TWO, []),
        ("nothing of another request", {"outcome": ended(RequestKind.EXEC, Failure(Reason.QUEUED, ""))}, {}, ONE, []),
        ("nothing of nodes that were lost", UP, {"counted": "lost/1"}, TWO, []),
        ("the place of the ledger", {}, {"infra": "kubernetes"}, ONE, ["kubernetes"]),
        ("it too while SkyPilot has not chosen", CHOOSING, {"infra": "kubernetes"}, ONE, ["kubernetes"]),
        ("the only place of the plan", {}, {}, ONE, ["gcp/us-central1"]),
        ("the same where its failure names none", {"outcome": failed()}, {}, ONE, ["gcp/us-central1"]),
        ("nothing where several were possible", {}, {}, TWO, []),
        ("nothing without a plan", {}, {}, None, []),
    ],
)
def test_a_launch_lists(says: str, known: Any, ledger: dict[str, Any], plan: Any, expected: list[str]) -> None:
    kept = LEDGER.model_copy(update=ledger)
    found = tried_places(None, View(b.NOW, b.facts(R1, **known), kept, plan=plan), kept)
    assert [one.place for one in found] == expected, says


@pytest.mark.parametrize(("noted", "told"), [("LaunchTimedOut", "LaunchTimedOut"), ("OfAnother", "LaunchFailed")])
def test_a_reason_of_another_version_is_a_launch_that_failed(noted: str, told: str) -> None:
    kept = LEDGER.model_copy(update={"failure_reason": noted})
    (found,) = tried_places(None, View(b.NOW, b.facts(R1, **UP, outcome=failed(AWS)), kept), kept)
    assert (found.place, found.reason) == ("aws/us-east-1", told)


TRIED = st.builds(
    PlaceTried,
    st.sampled_from([f"aws/region-{n}" for n in range(8)]),
    st.sampled_from([Reason.NO_CAPACITY, Reason.QUOTA_EXCEEDED, Reason.NOT_OFFERED]),
    st.sampled_from(["", "A", "B" * 200]),
)


@settings(deadline=None)
@given(st.lists(st.lists(TRIED, max_size=14), min_size=1, max_size=6))
def test_the_list_is_bounded_without_repetition_and_ends_with_the_newest(launches: list[list[PlaceTried]]) -> None:
    worlds = [b.facts(R1, outcome=failed(*tried, number=number)) for number, tried in enumerate(launches, 1)]
    found = passes(*worlds)
    assert len(found) <= KEPT
    assert [one.time for one in found] == sorted(one.time for one in found)
    if last := launches[-1]:
        assert found[-1].place == last[-1].place
