"""Rented machines that neither come up nor fail: given up in time, launched again, and elsewhere if possible."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import ExcludedPlace, Ledger
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.reconcile.actions import Launch, TearDown
from deepseek_operator.reconcile.replica.coming import LAUNCH_GRACE_S, MACHINES_S
from deepseek_operator.reconcile.replica.places import EXCLUDED_S, exclude, excluded_now
from deepseek_operator.runtime.tasks import limited
from tests.unit.reconcile import builders as b

DSD = b.rented_deployment("aws/us-east-1", "aws/us-west-2", "gcp")
R1 = b.name(DSD)
LIMIT = DSD.spec.resources.provision_timeout_seconds + MACHINES_S
PLACE = "aws/us-east-1"
ROW = b.row(R1, "INIT", cloud="AWS", region="us-east-1", detail="Instances launched on AWS us-east-1")


def coming(since: float, **fields: Any) -> Ledger:
    return b.ledger(infra="aws", **{"place": PLACE, "place_since": b.ago(since), **fields})


def step(ledger: Ledger, *seen: Any, of: DeepSeekDeployment = DSD, **fields: Any) -> tuple[list[Any], Any]:
    known = b.facts(R1, skypilot=b.seen(*seen), **fields)
    world = b.world(b.remembering(of, {R1: ledger}), known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
    decision, status = b.step(world)
    return [action for _, action in decision.actions], status.instances[0]


@pytest.mark.parametrize(
    ("says", "ledger", "seen", "given_up"),
    [
        ("in time", coming(LIMIT - 1), (b.request(R1, since=LIMIT), ROW), False),
        ("too late", coming(LIMIT + 1), (b.request(R1, since=LIMIT + 9), ROW), True),
        ("late in all, in time at this place", coming(60), (b.request(R1, since=LIMIT + 900), ROW), False),
        (
            "another place since",
            coming(LIMIT + 1),
            (b.request(R1, since=2000), replace(ROW, region="us-west-2")),
            False,
        ),
        ("queued again", coming(LIMIT + 1), (b.request(R1, state="PENDING", since=9999), ROW), False),
        ("parked by SkyPilot", coming(LIMIT + 1), (b.request(R1, state="WAITING", since=9999), ROW), False),
        ("an engine is started again", coming(LIMIT + 1), (b.request(R1, "exec", since=1), ROW), False),
        ("a clock set back", coming(-3600), (b.request(R1, since=10), ROW), False),
        ("pods have a deadline of their own", b.ledger(), (b.request(R1, since=LIMIT + 9), b.row(R1, "INIT")), False),
    ],
)
def test_machines_have_a_deadline_at_each_place(says: str, ledger: Ledger, seen: Any, given_up: bool) -> None:
    actions, instance = step(ledger, *seen)
    assert (actions == [TearDown(R1)]) is given_up, says
    assert (instance.reason == Reason.LAUNCH_TIMED_OUT) is given_up
    assert bool(instance.ledger.excluded) is given_up


def test_what_is_given_up_names_the_place_the_time_and_what_comes_next() -> None:
    _, instance = step(coming(LIMIT + 1), b.request(R1), ROW)
    assert instance.message.startswith(f"{PLACE}: no machine answered within {LIMIT} s")
    assert "15 minutes" in instance.message
    assert [(one.place, one.reason) for one in instance.places_tried] == [(PLACE, "LaunchTimedOut")]
    assert instance.ledger.excluded == (ExcludedPlace(place=PLACE, until=b.NOW + timedelta(seconds=EXCLUDED_S)),)


def test_it_is_launched_again_elsewhere() -> None:
    _, instance = step(coming(LIMIT + 1), b.request(R1), ROW)
    actions, again = step(instance.ledger, terminated=b.TERMINATED)
    assert actions == [Launch(R1, without=(PLACE,))]
    task_places = limited(b.planned(DSD), actions[0]).places
    assert [str(place) for place in task_places] == ["aws/us-west-2", "gcp"]
    assert (again.ledger.place, again.ledger.place_since) == (None, None)


def test_machines_that_skypilot_gave_up_leave_the_place_out_as_well() -> None:
    failed = b.failed_launch(Reason.LAUNCH_TIMED_OUT, "Failed to SSH to 203.0.113.7 after timeout 600s")
    actions, instance = step(coming(700), ROW, outcome=failed)
    assert actions == [TearDown(R1)]
    assert [one.place for one in instance.ledger.excluded] == [PLACE]
    known = b.facts(R1, skypilot=b.seen(ROW), outcome=failed)
    later = b.world(b.remembering(DSD, {R1: instance.ledger}), known, now=b.NOW + timedelta(minutes=1))
    after = b.step(later)[1].instances[0].ledger
    assert after.excluded == instance.ledger.excluded, "the same failure does not prolong it"


def test_credentials_that_expire_in_mid_launch_are_not_the_fault_of_the_place() -> None:
    _, instance = step(coming(60), ROW, outcome=b.failed_launch(Reason.CREDENTIALS_INVALID, "AuthFailure"))
    assert instance.ledger.excluded == ()


def test_pods_that_fail_after_a_cloud_had_no_room_are_not_the_fault_of_the_cloud() -> None:
    failed = b.failed_launch(Reason.LAUNCH_FAILED, "kubectl exec failed")
    _, instance = step(coming(60), b.row(R1, "INIT"), outcome=failed)
    assert instance.ledger.excluded == ()


def test_a_place_without_capacity_is_not_left_out_for_skypilot_has_tried_the_others_already() -> None:
    actions, instance = step(coming(5), outcome=b.failed_launch(Reason.NO_CAPACITY))
    assert instance.ledger.excluded == ()
    assert actions == []


@pytest.mark.parametrize(
    ("infra", "left"),
    [
        (("aws/us-east-1", "gcp"), ("gcp",)),
        (("aws/us-east-1/us-east-1a", "aws/us-west-2"), ("aws/us-west-2",)),
        (("aws/us-east-1",), ("aws/us-east-1",)),
        (("aws", "gcp"), ("aws", "gcp")),
        (("kubernetes", "aws/us-east-1"), ("kubernetes",)),
    ],
)
def test_a_place_is_left_out_where_the_task_can_say_so(infra: tuple[str, ...], left: tuple[str, ...]) -> None:
    plan = b.planned(b.rented_deployment(*infra))
    assert limited(plan, Launch(R1, without=(PLACE,))).spec.resources.infra == left
    assert limited(plan, Launch(R1)) is plan


def test_after_a_while_the_place_is_asked_again() -> None:
    kept = exclude(coming(1), b.NOW)
    assert excluded_now(kept, b.NOW) == (PLACE,)
    assert excluded_now(kept, b.NOW + timedelta(seconds=EXCLUDED_S)) == ()
    assert excluded_now(kept, b.NOW - timedelta(hours=3)) == (), "a clock that was set back"


def test_other_places_stay_left_out_for_as_long_as_they_are() -> None:
    other, over = (
        ExcludedPlace(place=place, until=b.NOW + timedelta(seconds=seconds))
        for place, seconds in (("gcp", 60), ("aws/us-west-2", 0))
    )
    kept = exclude(coming(1, excluded=(other, over)), b.NOW).excluded
    assert kept == (other, ExcludedPlace(place=PLACE, until=b.NOW + timedelta(seconds=EXCLUDED_S)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([f"aws/r{n}" for n in range(12)]), st.integers(-900, 900)), max_size=30))
def test_what_is_left_out_is_bounded_and_ends(failures: list[tuple[str, int]]) -> None:
    ledger, now = Ledger(), b.NOW
    for place, seconds in failures:
        now += timedelta(seconds=seconds)
        ledger = exclude(ledger.model_copy(update={"place": place}), now)
        assert place in excluded_now(ledger, now)
        assert len(ledger.excluded) == len({one.place for one in ledger.excluded}) <= 8
    assert excluded_now(ledger, now + timedelta(seconds=3 * EXCLUDED_S)) == ()


def test_the_deadline_of_machines_comes_before_that_of_any_launch() -> None:
    assert MACHINES_S < LAUNCH_GRACE_S
