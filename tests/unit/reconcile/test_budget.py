"""``maxHourlyCost`` over the whole object: launches wait, and nothing that runs is ever taken away because of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Ledger
from deepseek_operator.facts.base import Failure, Known
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.actions import Launch, TearDown
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.events import notes
from deepseek_operator.reconcile.replica.view import View
from deepseek_operator.runtime.tasks import limited
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.rented import PRICE, capped, launches, passes, priced


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "much"])
def test_a_price_in_a_status_that_is_no_amount_is_not_known(text: str) -> None:
    """Somebody with rights on the status wrote it; no pass may end because of that."""
    of = capped("5")
    decision, status = passes(of, b.name(of), price=text)
    assert len(launches(decision)) == 1
    assert status.cost is not None
    assert Decimal(status.cost.hourly or 0) == PRICE


def test_without_a_cap_launches_have_no_limit_of_their_own() -> None:
    assert launches(passes(capped(None))[0]) == [None, None]


def test_each_new_replica_gets_its_share_of_the_cap() -> None:
    assert launches(passes(capped("4"))[0]) == [Decimal(2), Decimal(2)]


def test_a_replica_beside_a_dear_one_gets_what_that_leaves() -> None:
    of = capped("4")
    assert launches(passes(of, b.name(of), price=Decimal("2.9"))[0]) == [Decimal("1.1")]


def test_what_the_cap_does_not_allow_is_held_with_a_reason_an_event_and_the_figures() -> None:
    of = capped("4")
    decision, status = passes(of, b.name(of), price=Decimal("3.5"))
    assert launches(decision) == []
    held = status.instances[1]
    assert (held.phase.value, held.reason) == ("Pending", "MaxHourlyCostReached")
    assert "spec.resources.maxHourlyCost 4" in held.message
    assert "3.50 $/h" in held.message
    told = [(note.type, note.reason) for note in notes(DeepSeekDeploymentStatus(), status)]
    assert ("Warning", "MaxHourlyCostReached") in told
    reconciling = next(one for one in status.conditions if one.type == "Reconciling")
    assert (reconciling.status, reconciling.reason) == ("True", "MaxHourlyCostReached")


def test_a_cap_that_is_raised_to_the_sum_of_the_figures_is_enough() -> None:
    of = capped("1.61")
    _, status = passes(of, b.name(of), price="0.9048")
    words = status.instances[1].message
    assert "take 0.91 $/h of it, and one more costs 0.81 $/h or more" in words
    of = capped("1.72")
    assert len(launches(passes(of, b.name(of), price="0.9048")[0])) == 1


def test_launches_under_way_count_with_what_they_may_cost() -> None:
    of = capped("2")
    first = b.name(of)
    known = b.facts(first, skypilot=b.seen(b.request(first)))
    world = b.world(
        b.remembering(of, {first: b.ledger(infra=None, cost_limit="1.5")}), known,
        secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
    )  # fmt: skip
    decision, status = b.step(world)
    assert launches(decision) == []
    assert status.instances[1].reason == "MaxHourlyCostReached"


def test_a_successor_beside_the_old_one_counts_too_and_waits_for_the_user() -> None:
    of = capped("1", replicas=1)
    decision, status = passes(of, b.older(of))
    assert decision.actions == ()
    assert {one.reason for one in status.instances} == {"Ready", "MaxHourlyCostReached"}
    assert "updateStrategy.maxUnavailable: 1" in next(one.message for one in status.instances if one.reason != "Ready")


def test_where_one_may_be_missing_an_old_one_makes_room_instead_of_going_beyond_the_cap() -> None:
    of = capped("1", replicas=1, updateStrategy={"maxSurge": 1, "maxUnavailable": 1})
    _, status = passes(of, b.older(of))
    assert [(one.name, one.phase.value) for one in status.instances] == [(str(b.older(of)), "Terminating")]


def test_where_ones_own_cluster_will_do_nothing_is_held_and_clouds_are_out_of_reach() -> None:
    of = capped("1", replicas=2, infra=("kubernetes", "aws"))
    decision, _ = passes(of, b.name(of))
    assert launches(decision) == [Decimal("0.1952")]
    full = capped("0.81", replicas=2, infra=("kubernetes", "aws"))
    assert launches(passes(full, b.name(full), price=Decimal("0.81"))[0]) == [Decimal("0.0001")]


@pytest.mark.parametrize(("cap", "beyond"), [("0.81", True), ("1.62", False)])
def test_a_cluster_without_room_is_not_all_that_is_said_where_the_cap_keeps_clouds_from_being_asked(
    cap: str, beyond: bool
) -> None:
    of = capped(cap, infra=("kubernetes", "aws"))
    full = b.facts(b.name(of, 1), outcome=b.failed_launch())
    _, settled = passes(of, b.name(of))
    kept = {b.name(of): settled.instances[0].ledger, full.name: b.ledger(infra=None)}
    rented = b.facts(b.name(of), skypilot=b.seen(b.row(b.name(of), cloud="AWS", region="us-east-1")))
    _, status = passes(
        of, b.name(of), deployment=b.remembering(of, kept), replicas={rented.name: rented, full.name: full}
    )
    failed = status.instances[1]
    assert failed.reason == Reason.UNSCHEDULABLE
    words = "0/1 nodes are available; no cloud is asked: spec.resources.maxHourlyCost 0.81: the replicas"
    assert failed.message.startswith(words) is beyond
    assert failed.ledger.failure_message == "0/1 nodes are available"


def test_a_successor_waits_for_the_money_of_one_that_was_torn_down_and_not_for_the_user() -> None:
    """Its row is gone, and what became of its machines is answered in a moment."""
    of = capped("2.5")
    gone, old, new = b.older(of), b.older(of, 1), b.name(of)
    _, running = passes(of, gone, old, new)
    kept = {b.named(one.name): one.ledger for one in running.instances}
    kept[gone] = kept[gone].model_copy(update={"teardown_at": b.ago(9), "unpublished_since": b.ago(60)})
    known = {name: b.facts(name, skypilot=b.seen(b.row(name, cloud="AWS"))) for name in (old, new)}
    for outcome, launched in ((NOT_ASKED, 0), (Known(Outcome("req-3", RequestKind.DOWN, b.NOW), b.NOW), 1)):
        replicas = {gone: b.facts(gone, outcome=outcome), **known}
        decision, status = passes(of, old, new, replicas=replicas, deployment=b.remembering(of, kept))
        assert len(launches(decision)) == launched
        assert "MaxHourlyCostReached" not in {one.reason for one in status.instances}


def test_a_replica_that_is_launched_again_gets_its_share_too() -> None:
    of = capped("4")
    lost = [b.name(of), b.name(of, 1)]
    world = b.world(
        b.remembering(of, {name: Ledger() for name in lost}), *(b.facts(name) for name in lost),
        secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
    )  # fmt: skip
    assert launches(b.step(world)[0]) == [Decimal(2), Decimal(2)]


def test_a_launch_that_was_never_heard_is_repeated_with_its_share_too() -> None:
    of = capped("4")
    unheard = b.ledger(infra=None, unanswered="launch", unanswered_at=b.ago(121), cost_limit="2")
    of = b.remembering(of, {b.name(of): unheard, b.name(of, 1): unheard})
    known = [b.facts(b.name(of, ordinal)) for ordinal in (0, 1)]
    asked = {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    first, status = b.step(b.world(of, *known, **asked))
    assert launches(first) == []
    assert first.next_look_s is not None
    again, _ = b.step(b.world(of.model_copy(update={"status": status}), *known, **asked))
    assert launches(again) == [Decimal(2), Decimal(2)]


def test_with_room_under_the_cap_a_successor_comes_beside_the_old_one() -> None:
    of = capped("4", replicas=1, updateStrategy={"maxSurge": 1, "maxUnavailable": 1})
    decision, status = passes(of, b.older(of))
    assert len(launches(decision)) == 1
    assert "Ready" in [one.reason for one in status.instances]


def test_where_only_ones_own_cluster_may_be_used_a_cap_limits_nothing() -> None:
    assert launches(passes(capped("1", infra=("kubernetes",)))[0]) == [None, None]


def test_what_one_launch_may_cost_is_not_left_for_the_next_one() -> None:
    for infra in (("aws",), ("kubernetes", "aws")):
        of = capped("3", replicas=3, infra=infra)
        assert launches(passes(of, b.name(of), price=Decimal("1.1"))[0]) == [Decimal(1), Decimal("0.9")]


def test_nodes_that_are_adopted_may_cost_what_their_launch_might_have() -> None:
    """Should they be gone in that moment, SkyPilot rents others for the same launch."""
    of = capped("3", replicas=1)
    idle = b.facts(b.name(of), skypilot=b.seen(b.row(b.name(of), cloud="AWS")), job=b.job(JobState.NONE))
    remembered = b.remembering(of, {b.name(of): b.ledger(infra="aws", renting=True, cost_limit="1.5", address=None)})
    decision, status = b.step(b.world(remembered, idle, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED))
    assert launches(decision) == [Decimal("1.5")]
    assert status.instances[0].ledger.cost_limit == "1.5"


@pytest.mark.parametrize(
    ("plan", "cheapest"),
    [
        (priced("7"), "7.00"),
        (priced("7", "5", None), "5.00"),
        (priced("5", "7"), "5.00"),
        (priced(None, "5"), "5.00"),
        (priced("0", "5"), "5.00"),
        (priced(None), None),
    ],
)
def test_there_is_room_for_the_cheapest_machine_that_the_plan_knows(plan: Planned, cheapest: str | None) -> None:
    limit = Decimal(cheapest or "0.0001") * 2  # a share of half the cap
    assert Budget(plan, limit, Decimal(0)).room_for_one(on_demand=False)
    tight = Budget(plan, limit, limit / 2 + Decimal("0.0001"))
    assert not tight.room_for_one(on_demand=False)
    held, _ = tight.admit(View(b.NOW, b.facts(b.name(b.deployment()))))
    assert held.blocked is not None
    words = f"one more costs {cheapest} $/h or more" if cheapest else "that leaves nothing for another"
    assert words in held.blocked.message


def test_without_a_plan_and_without_a_cap_the_limit_of_missing_replicas_needs_no_budget() -> None:
    strategy: dict[str, Any] = {"updateStrategy": {"maxSurge": 0, "maxUnavailable": 1}}
    of = capped("4", **strategy)
    assert decide(b.world(of), Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")).actions == ()
    assert launches(passes(capped(None, **strategy))[0]) == [None, None]


@pytest.mark.parametrize(("reason", "shown"), [
    (Reason.SECRET_NOT_FOUND, Reason.SECRET_NOT_FOUND),
    (Reason.PLANNING, Reason.MAX_HOURLY_COST_REACHED),
])  # fmt: skip
def test_what_somebody_has_to_mend_is_named_before_a_price(reason: Reason, shown: Reason) -> None:
    of = capped("4")
    waiting = View(b.NOW, b.facts(b.name(of)), blocked=Failure(reason, "why"))
    held, _ = Budget(b.planned(of), Decimal(4), Decimal(4)).admit(waiting)
    assert held.blocked is not None
    assert held.blocked.reason is shown
    asking, _ = Budget(b.planned(of), Decimal(4), unknown=(b.older(of),)).admit(waiting)
    assert asking.blocked is waiting.blocked


@pytest.mark.parametrize("cap", ["0.0001", "0.5", "1.60", "2"])
def test_nothing_that_runs_is_torn_down_because_of_a_price(cap: str) -> None:
    of = capped(cap)
    decision, status = passes(of, b.name(of), b.name(of, 1), price=Decimal("99"))
    assert decision.actions == ()
    assert [one.phase.value for one in status.instances] == ["Ready", "Ready"]


PRICES = st.decimals(Decimal("0.10"), Decimal(40), places=4)


@settings(deadline=None)
@given(
    cap=st.decimals(Decimal("0.9"), Decimal(60), places=2),
    replicas=st.integers(1, 4),
    current=st.integers(0, 4),
    old=st.integers(0, 4),
    price=PRICES,
)
def test_whatever_skypilot_chooses_the_object_never_costs_more_than_the_cap(
    cap: Decimal, replicas: int, current: int, old: int, price: Decimal
) -> None:
    of = capped(str(cap), replicas)
    running = [b.name(of, number) for number in range(min(current, replicas))]
    running += [b.older(of, number) for number in range(min(old, replicas))]
    decision, status = passes(of, *running, price=price)
    new = [limit for limit in launches(decision) if limit is not None]
    if new:
        assert price * len(running) + sum(new) <= cap
    if price * len(running) > cap:
        assert not any(isinstance(action, TearDown) for _, action in decision.actions) or len(running) > replicas
    assert all(one.reason for one in status.instances)


def test_the_limit_reaches_skypilot_for_each_node() -> None:
    plan = b.planned(capped("4"))
    identity = Identity("r1-0a1b2c3d-00000000-0", "serving", "r1", b.UID, "00000000", "r1-engine")
    two_nodes = replace(plan, nodes=2)
    task = build_task(limited(two_nodes, Launch(b.name(capped("4")), Decimal("1.9999"))), identity).task
    assert task["resources"]["max_hourly_cost"] == 0.9999
    nothing_left = build_task(limited(two_nodes, Launch(b.name(capped("4")), Decimal("0.0001"))), identity).task
    assert nothing_left["resources"]["max_hourly_cost"] == 0.0001, "SkyPilot refuses a task with a limit of 0"
    unlimited = build_task(limited(plan, Launch(b.name(capped("4")))), identity).task
    assert unlimited["resources"]["max_hourly_cost"] == 2.0
