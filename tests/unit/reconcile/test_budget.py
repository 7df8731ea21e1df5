"""``maxHourlyCost`` over the whole object: launches wait, and nothing that runs is ever taken away because of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Ledger
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Fact, Failure, Known
from deepseek_operator.facts.skypilot import JobState, Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, Seen
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.planning import Planned, Refused
from deepseek_operator.reconcile.actions import Launch, TearDown
from deepseek_operator.reconcile.budget import Budget
from deepseek_operator.reconcile.decide import Decision, decide
from deepseek_operator.reconcile.events import notes
from deepseek_operator.reconcile.replica.view import Health, View
from deepseek_operator.runtime.tasks import limited
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.rented import PRICE, passes


def capped(
    cap: str | None, replicas: int = 2, *, infra: tuple[str, ...] = ("aws",), **fields: Any
) -> DeepSeekDeployment:
    resources = {} if cap is None else {"maxHourlyCost": cap}
    return b.rented_deployment(*infra, resources=resources, replicas=replicas, **fields)


def launches(decision: Decision) -> list[Decimal | None]:
    return [action.cost_limit for _, action in decision.actions if isinstance(action, Launch)]


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


LISTED_FIRST = capped("4", infra=("kubernetes", "aws"))
FIRST = b.name(LISTED_FIRST)


@pytest.mark.parametrize(
    ("says", "skypilot", "ledger", "second"),
    [
        ("SkyPilot looks in the cluster", b.seen(b.row(FIRST, "INIT"), b.request(FIRST)), {}, "0.5"),
        ("its pods came before a snapshot", NOT_ASKED, {}, "0.5"),
        ("its launch has ended there", b.seen(b.row(FIRST)), {}, "2"),
        ("its engine loads there", NOT_ASKED, {"starting_since": b.ago(60)}, "2"),
        ("its engine answers there", NOT_ASKED, {"ready_since": b.ago(60)}, "2"),
        ("its engine has stopped there", NOT_ASKED, {"silent_since": b.ago(60)}, "2"),
        ("no launch of it is known", NOT_ASKED, {"launched_at": None}, "2"),
        ("it is given back", NOT_ASKED, {"teardown_at": b.ago(5)}, "2"),
    ],
)
def test_a_launch_that_begins_in_the_cluster_may_still_rent_what_it_was_allowed_to(
    says: str, skypilot: Fact[Seen], ledger: dict[str, Any], second: str
) -> None:
    """SkyPilot goes on to the clouds of the list where the cluster has no room."""
    known = b.facts(FIRST, skypilot=skypilot, pods=(b.pod(FIRST),), outcome=NOT_ASKED)
    remembered = b.remembering(LISTED_FIRST, {FIRST: b.ledger(infra=None, cost_limit="3.5", **ledger)})
    world = b.world(remembered, known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
    assert launches(b.step(world)[0]) == [Decimal(second)], says


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


def priced(plan_cost: str | None, *candidates: str | None) -> Planned:
    """A plan that costs so much, with candidates that do."""
    known = b.planned(capped("4"))
    first = known.candidates[0]
    costs = [None if cost is None else Decimal(cost) for cost in (plan_cost, *candidates)]
    others = tuple(replace(first, hourly_cost=cost) for cost in costs[1:])
    return replace(known, candidates=others, hourly_cost=costs[0])


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


ON_DEMAND = replace(priced("7"), on_demand_cost=Decimal(9))
MIXED = replace(priced("1"), on_demand_cost=Decimal(2), base=1)
R1 = b.name(capped("9"))
LISTED = b.seen(b.row(R1, cloud="AWS"))
LOOKING = b.seen(b.row(R1, "INIT", cloud="AWS"), b.request(R1))
LOOKING_HERE = b.seen(b.row(R1, "INIT"), b.request(R1))


@pytest.mark.parametrize(
    ("says", "known", "ledger", "shown", "plan", "expected"),
    [
        ("pods", {"pods": (b.pod(R1),)}, b.ledger(cost_limit="2"), None, priced("7"), "0"),
        ("nothing", {}, b.ledger(infra="aws", cost_limit="2"), None, priced("7"), "0"),
        ("machines without a record", {}, b.ledger(infra="aws", renting=True, price="3"), None, priced("7"), "3"),
        ("machines", {"skypilot": LISTED}, b.ledger(renting=True, price="3", cost_limit="4"), None, priced("7"), "3"),
        ("a price of before", {"skypilot": LISTED}, b.ledger(price="3", cost_limit="4"), None, priced("7"), "4"),
        ("no price yet", {"skypilot": LISTED}, b.ledger(renting=True, cost_limit="4"), Decimal(6), priced("7"), "4"),
        (
            "a price of this moment",
            {"skypilot": LISTED, "price": Known(Decimal(5), b.NOW)},
            b.ledger(),
            None,
            priced("7"),
            "5",
        ),
        (
            "SkyPilot does not say",
            {"skypilot": LISTED, "price": Known(None, b.NOW)},
            b.ledger(),
            None,
            priced("7"),
            "7",
        ),
        ("no limit either", {"skypilot": LISTED}, b.ledger(), Decimal(6), priced("7"), "6"),
        ("nobody remembers its launch", {"skypilot": LOOKING}, Ledger(), Decimal(3), priced("2"), "4.5"),
        ("nor that of a dear one", {"skypilot": LOOKING}, Ledger(), Decimal(6), priced("2"), "6"),
        ("nor whether it is on demand", {"skypilot": LOOKING}, Ledger(), None, MIXED, "6"),
        ("nor that it may leave the cluster", {"skypilot": LOOKING_HERE}, Ledger(), None, priced("2"), "4.5"),
        ("nor is there a plan", {"skypilot": LOOKING}, Ledger(), None, None, "0"),
        ("its launch had no limit", {"skypilot": LOOKING}, b.ledger(infra=None), None, priced("2"), "2"),
        ("what the status shows is unknown too", {"skypilot": LISTED}, b.ledger(), None, priced("7"), "7"),
        ("its price on demand", {"skypilot": LISTED}, b.ledger(on_demand=True), None, ON_DEMAND, "9"),
        ("nothing is known of any price", {"skypilot": LISTED}, b.ledger(), None, priced(None), "0"),
        ("no plan", {"skypilot": LISTED}, b.ledger(), None, None, "0"),
    ],
)
def test_a_replica_takes_of_the_budget(
    says: str, known: dict[str, Any], ledger: Ledger, shown: Decimal | None, plan: Planned | None, expected: str
) -> None:
    view = View(b.NOW, b.facts(R1, **known), ledger, shown_cost=shown)
    assert Budget.of(plan, "9", [view]).committed == Decimal(expected), says


LOST = capped("4", replicas=1)
"""A dear replica of an older revision serves, and the status that remembered it is lost."""
UP = b.seen(b.row(b.older(LOST), cloud="AWS"))
INIT = b.seen(b.row(b.older(LOST), "INIT", cloud="AWS"))
REQUESTED = b.seen(b.request(b.older(LOST)))
DOWN = b.seen(b.row(b.older(LOST), cloud="AWS"), b.request(b.older(LOST), "down"))


@pytest.mark.parametrize(
    ("says", "skypilot", "price", "ledger", "shown", "limit"),
    [
        ("its price is being asked", UP, NOT_ASKED, Ledger(), Reason.PLANNING, None),
        ("it leaves too little", UP, Known(Decimal("3.9"), b.NOW), Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("it leaves enough", UP, Known(Decimal("1.9"), b.NOW), Ledger(), Reason.LAUNCHING, "2.1"),
        ("pods have none", b.seen(b.row(b.older(LOST))), NOT_ASKED, Ledger(), Reason.LAUNCHING, "4"),
        ("SkyPilot knows no price", UP, Known(None, b.NOW), Ledger(), Reason.LAUNCHING, "3.1952"),
        ("SkyPilot cannot say", UP, b.AWAY, Ledger(), Reason.PLANNING, None),
        ("what it may cost is remembered", UP, NOT_ASKED, Ledger(cost_limit="2"), Reason.LAUNCHING, "2"),
        ("one that goes may cost its share", DOWN, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("so may one that comes", INIT, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("and one for which no row is there yet", REQUESTED, NOT_ASKED, Ledger(), Reason.MAX_HOURLY_COST_REACHED, None),
        ("it was launched without a limit", INIT, NOT_ASKED, b.ledger(infra=None), Reason.LAUNCHING, "3.1952"),
    ],
)
def test_machines_of_which_nobody_remembers_the_price_leave_nothing_that_they_may_cost(
    says: str, skypilot: Known[Seen], price: Fact[Decimal | None], ledger: Ledger, shown: Reason, limit: str | None
) -> None:
    known = b.facts(b.older(LOST), skypilot=skypilot, price=price)
    asked = {"secrets": b.API_KEY_EXISTS, "clouds": b.CLOUDS_ENABLED}
    decision, status = b.step(b.world(b.remembering(LOST, {b.older(LOST): ledger}), known, **asked))
    assert launches(decision) == ([] if limit is None else [Decimal(limit)]), says
    assert next(one.reason for one in status.instances if one.name == str(b.name(LOST))) == shown, says
    if shown is Reason.PLANNING:
        assert QuestionKind.PRICE in [question.kind for question in decision.asks]


def test_without_a_plan_and_without_a_cap_the_limit_of_missing_replicas_needs_no_budget() -> None:
    strategy: dict[str, Any] = {"updateStrategy": {"maxSurge": 0, "maxUnavailable": 1}}
    of = capped("4", **strategy)
    assert decide(b.world(of), Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")).actions == ()
    assert launches(passes(capped(None, **strategy))[0]) == [None, None]


@pytest.mark.parametrize(("health", "cost"), [(Health.ANSWERS, "3"), (Health.UNKNOWN, "3"), (Health.SILENT, "0")])
def test_a_machine_that_answers_is_not_free_because_its_user_says_so(health: Health, cost: str) -> None:
    """``status.cost`` counts it as long, too."""
    rented = b.ledger(infra="aws", renting=True, price="3")
    view = View(b.NOW, b.facts(R1), rented, health=health, abandoned=True)
    assert Budget.of(priced("7"), "9", [view]).committed == Decimal(cost)


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
