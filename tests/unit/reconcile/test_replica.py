"""The rules for one replica: what no table shows."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Failure
from deepseek_operator.facts.kubernetes import Pod
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import TearDown
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.replica.coming import COMING
from deepseek_operator.reconcile.replica.leaving import LEAVING
from deepseek_operator.reconcile.replica.look import look
from deepseek_operator.reconcile.replica.rules import want
from deepseek_operator.reconcile.replica.view import Health, View
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import NO_PLAN
from tests.unit.reconcile.replica_table import (
    AT,
    DOWN,
    DSD,
    LAUNCHED,
    R1,
    READY,
    RENTED,
    RENTED_AT,
    SILENT,
    SPOT,
    STARTING,
)


def test_every_rule_says_why_it_stands_where_it_stands() -> None:
    for rule, why in (*COMING, *LEAVING):
        assert why.endswith("."), rule
        assert len(why.split()) > 6, rule


def test_without_a_log_an_engine_that_ended_is_described_by_its_state() -> None:
    of = b.remembering(DSD, {R1: STARTING})
    _, status = b.step(b.world(of, b.up(R1, job=b.job(JobState.ENDED)), probes=b.silent(AT)))
    assert status.instances[0].message == "the engine ended (FAILED)"


def test_without_a_detail_a_state_is_described_alone() -> None:
    for ledger, words in ((LAUNCHED, "and no launch is under way"), (SILENT, "launching again")):
        of = b.remembering(DSD, {R1: ledger})
        known = b.facts(R1, skypilot=b.seen(b.row(R1, "INIT")))
        assert b.step(b.world(of, known))[1].instances[0].message.rstrip(")").endswith(words)


def test_a_probe_without_a_detail_adds_nothing_to_the_message() -> None:
    of = b.remembering(DSD, {R1: SILENT})
    _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT, "")))
    assert status.instances[0].message.startswith("its job runs but the engine stopped answering; it is replaced")


@pytest.mark.parametrize(("port", "plan"), [(b.PORT, None), (None, None), (b.PORT, NO_PLAN)])
def test_an_engine_without_an_address_answers_nowhere_yet(port: int | None, plan: Refused | None) -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", price="1", port=port)})
    up = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), job=b.job(JobState.ACTIVE))
    _, status = b.step(b.world(of, up), plan)
    assert "; no answer yet; it has time until" in status.instances[0].message


def test_an_engine_whose_launch_was_not_noted_waits_for_a_plan() -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", port=None, launched_at=None)})
    up = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), job=b.job(JobState.ACTIVE))
    _, status = b.step(b.world(of, up), NO_PLAN)
    words = "the nodes are up; the port of the engine is not known before the spec can be planned again; it has time"
    assert status.instances[0].message.startswith(words)


def test_an_engine_that_does_not_answer_says_until_when_it_is_waited_for() -> None:
    starting = b.ledger(starting_since=b.ago(60), startup_seconds=600)
    for ledger, until in ((starting, "12:09:00"), (b.ledger(silent_since=b.ago(60)), "12:02:00")):
        of = b.remembering(DSD, {R1: ledger})
        _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT)))
        assert status.instances[0].message.endswith(f"2026-11-24T{until}Z")


def test_the_start_of_an_engine_is_noted_once() -> None:
    for ledger, since in ((LAUNCHED, b.NOW), (STARTING, b.ago(60))):
        of = b.remembering(DSD, {R1: ledger})
        _, status = b.step(b.world(of, b.up(R1), probes=b.silent(AT)))
        assert status.instances[0].ledger.starting_since == since


def test_a_launch_gives_its_worker_back_only_once_it_has_one_and_time_to_find_nodes() -> None:
    stuck = (b.pod(R1, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),)
    for state, since, given_back in (("RUNNING", 6, True), ("RUNNING", 4, False), ("WAITING", 6, False)):
        known = b.facts(R1, skypilot=b.seen(b.request(R1, state=state, since=since), b.row(R1, "INIT")), pods=stuck)
        view = look(b.world(DSD, known), known, LAUNCHED, b.planned(DSD), current=True)
        assert (want(replace(view, launches_waiting=True)).actions == (DOWN,)) is given_back


@pytest.mark.parametrize(
    ("infra", "attempts", "given_back"),
    [
        (("kubernetes",), 2, True),
        (("kubernetes", "aws"), 1, True),
        (("kubernetes", "aws"), 2, False),
    ],
)
def test_a_launch_keeps_its_worker_the_third_time_where_skypilot_goes_on_to_a_cloud(
    infra: tuple[str, ...], attempts: int, given_back: bool
) -> None:
    of = b.rented_deployment(*infra)
    name = b.name(of)
    stuck = (b.pod(name, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),)
    known = b.facts(name, skypilot=b.seen(b.request(name, since=6), b.row(name, "INIT")), pods=stuck)
    view = look(b.world(of, known), known, b.ledger(attempts=attempts), b.planned(of), current=True)
    assert (want(replace(view, launches_waiting=True)).actions == (TearDown(name),)) is given_back


def test_what_has_no_plan_is_timed_out_without_its_timeout_and_never_final() -> None:
    """As a replica of an older revision."""
    launching = View(b.NOW, b.facts(R1, skypilot=b.seen(b.request(R1, since=3601))), LAUNCHED)
    assert want(launching).reason is Reason.LAUNCH_TIMED_OUT
    rented = b.ledger(infra="aws", place="aws/us-east-1", place_since=b.ago(1501))
    machines = View(b.NOW, b.facts(R1, skypilot=b.seen(b.request(R1), SPOT)), rented)
    assert want(machines).reason is Reason.LAUNCH_TIMED_OUT
    assert not want(View(b.NOW, b.facts(R1, outcome=b.failed_launch()), LAUNCHED)).final


def test_machines_that_served_and_are_gone_by_the_word_of_a_user_were_lost_although_nobody_has_probed_them() -> None:
    """As right after a restart: nothing has been silent yet."""
    found = want(View(b.NOW, b.facts(R1), RENTED, address=RENTED_AT, health=Health.UNKNOWN, abandoned=True))
    assert found.reason is Reason.INSTANCE_LOST


def test_a_failure_is_counted_once_however_often_it_is_seen() -> None:
    of = b.remembering(DSD, {R1: LAUNCHED})
    for _ in range(3):
        _, status = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
        assert status.instances[0].attempts == 1
        of = of.model_copy(update={"status": status})


def test_backoff_doubles_up_to_two_minutes() -> None:
    waits = []
    for attempts in range(8):
        of = b.remembering(DSD, {R1: b.ledger(attempts=attempts, counted="x")})
        decision, _ = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
        waits.append(decision.next_look_s)
    assert waits == [10, 20, 40, 80, 120, 120, 120, 120]


def test_a_clock_that_was_set_back_does_not_stretch_a_backoff() -> None:
    future = b.ago(-3600)
    of = b.remembering(DSD, {R1: b.ledger(counted="request/req-9", attempts=1, retry_after=future)})
    decision, _ = b.step(b.world(of, b.facts(R1, outcome=b.failed_launch())))
    assert decision.next_look_s == 120


def test_a_launch_that_must_not_be_repeated_is_stalled() -> None:
    of = b.deployment(resources={**b.CPU_SPEC["resources"], "retryUntilUp": False})
    cluster = b.name(of)
    of = b.remembering(of, {cluster: LAUNCHED})
    decision, status = b.step(b.world(of, b.facts(cluster, outcome=b.failed_launch())))
    conditions = {c.type: (c.status, c.reason) for c in status.conditions}
    assert conditions["Stalled"] == ("True", "Unschedulable")
    assert decision.actions == ()
    assert decision.next_look_s is None


def test_a_replica_with_a_node_too_few_is_replaced() -> None:
    one_of_two = b.facts(R1, skypilot=b.seen(b.row(R1, nodes=2)), pods=(b.pod(R1),))
    worker_deleted = replace(one_of_two, pods=(b.pod(R1), Pod("w", str(R1), "x", False, "Running", None, True)))
    for known in (one_of_two, worker_deleted):
        of = b.remembering(DSD, {R1: READY})
        decision, status = b.step(b.world(of, known, probes=b.silent(AT)))
        assert (decision.actions, status.instances[0].reason) == (((R1, DOWN),), Reason.INSTANCE_LOST)
        assert "1 of its 2 pods are gone" in status.instances[0].message


@pytest.mark.parametrize("capacity", ["Spot", "SpotThenOnDemand"])
@pytest.mark.parametrize(("spot", "reason"), [(True, Reason.PREEMPTED), (False, Reason.INSTANCE_LOST)])
def test_machines_of_which_skypilot_has_no_record_any_more_were_taken_back_if_they_were_spot(
    capacity: str, spot: bool, reason: Reason
) -> None:
    of = b.rented_deployment(resources={"capacityType": capacity})
    name = b.name(of)
    known = {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    looking = (replace(b.row(name), cloud="AWS", spot=True), b.request(name))
    ledger = RENTED
    for row in (looking, (replace(b.row(name), cloud="AWS", spot=spot),), ()):
        world = b.world(
            b.remembering(of, {name: ledger}), b.facts(name, skypilot=b.seen(*row), terminated=b.TERMINATED), **known
        )
        (found,) = decide(world, b.planned(of)).replicas
        ledger = found.finding.ledger
        assert ledger.spot is (spot and row is not looking)
    assert found.finding.reason is reason
