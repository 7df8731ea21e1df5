"""``resources.capacity.onDemandBase``: so many replicas are on demand, and a change of the number replaces nobody."""

from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.status import Ledger
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName, revision_of
from deepseek_operator.facts.skypilot import JobState, SkyPilotCluster
from deepseek_operator.launch import Identity, build_task
from deepseek_operator.reconcile.actions import Launch, RunAgain
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.rollout import Existing, plan_rollout
from deepseek_operator.runtime.tasks import limited
from tests.unit.reconcile import builders as b

AWS = {"cloud": "AWS", "region": "us-east-1"}
SPOT, DEAR = Decimal("0.3"), Decimal("0.8048")


def mixed(base: int, replicas: int = 3, kind: str = "SpotThenOnDemand", **resources: Any) -> DeepSeekDeployment:
    fields = {"capacityType": kind, "capacity": {"onDemandBase": base}, **resources}
    return b.rented_deployment("aws/us-east-1", resources=fields, replicas=replicas)


def passes(of: DeepSeekDeployment, *known: tuple[ClusterName, SkyPilotCluster | None, dict[str, Any]]) -> Decision:
    """One pass: replicas with their row and what their ledger holds besides; those with a row that is UP serve."""
    ledgers: dict[ClusterName, Ledger] = {}
    places: dict[ClusterName, Address] = {}
    facts = []
    for number, (name, row, fields) in enumerate(known, 1):
        serves = row is not None and row.state == "UP"
        if serves:
            places[name] = Address(f"54.0.0.{number}", 8000)
            fields = {"ready_since": b.ago(60), "address": str(places[name]), "renting": True, **fields}
        ledgers[name] = b.ledger(infra="aws", **fields)
        seen = b.seen(row) if row is not None else b.seen(b.request(name))
        facts.append(b.facts(name, skypilot=seen, job=b.job(JobState.ACTIVE)))
    world = b.world(
        b.remembering(of, ledgers), *facts, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
        probes=b.answering(*places.values()), endpoints=tuple([b.endpoints(*places.values())] if places else []),
    )  # fmt: skip
    return b.step(world)[0]


def launches(decision: Decision) -> dict[int, bool]:
    """Ordinals that are launched, and whether on demand only."""
    return {name.ordinal: action.on_demand for name, action in decision.actions if isinstance(action, Launch)}


def spot(name: ClusterName, **ledger: Any) -> tuple[ClusterName, SkyPilotCluster | None, dict[str, Any]]:
    return name, b.row(name, spot=True, **AWS), ledger


def on_demand(name: ClusterName, **ledger: Any) -> tuple[ClusterName, SkyPilotCluster | None, dict[str, Any]]:
    return name, b.row(name, **AWS), ledger


def test_the_first_launches_are_on_demand_and_the_others_as_the_spec_says() -> None:
    assert launches(passes(mixed(2))) == {0: True, 1: True, 2: False}
    assert launches(passes(mixed(0))) == {0: False, 1: False, 2: False}


def test_a_base_above_the_replicas_makes_all_on_demand() -> None:
    assert launches(passes(mixed(9, replicas=2))) == {0: True, 1: True}


def test_a_lost_spot_machine_is_replaced_as_the_spec_says_and_a_lost_one_of_the_base_on_demand() -> None:
    of = mixed(1)
    base, second, third = (b.name(of, ordinal) for ordinal in range(3))
    assert launches(passes(of, on_demand(base, on_demand=True), spot(second))) == {2: False}
    assert launches(passes(of, spot(second), spot(third))) == {0: True}


def test_a_launch_of_the_base_that_is_under_way_counts() -> None:
    of = mixed(1)
    assert launches(passes(of, (b.name(of, 0), None, {"on_demand": True}))) == {1: False, 2: False}


def test_a_launch_of_which_nobody_knows_yet_what_it_will_find_does_not_count() -> None:
    of = mixed(1)
    starting = b.row(b.name(of, 0), "INIT", **AWS)
    assert launches(passes(of, (b.name(of, 0), starting, {}))) == {1: True, 2: False}


def test_a_replica_that_found_no_spot_machine_counts_as_one_on_demand() -> None:
    of = mixed(1)
    assert launches(passes(of, on_demand(b.name(of, 0)))) == {1: False, 2: False}


def test_a_change_of_the_number_starts_stops_and_replaces_nothing() -> None:
    before, after = mixed(0), mixed(2)
    assert revision_of(before.spec) == revision_of(after.spec)
    assert passes(after, *(spot(b.name(after, ordinal)) for ordinal in range(3))).actions == ()


def test_it_holds_from_the_next_launch_on() -> None:
    of = mixed(1, replicas=2)
    assert launches(passes(of, spot(b.name(of, 1)))) == {0: True}


def test_an_on_demand_launch_asks_for_no_spot_machine() -> None:
    of = mixed(1)
    identity = Identity("r1-0a1b2c3d-00000000-0", "serving", "r1", b.UID, "00000000", "r1-engine")

    def asked(launch: Launch) -> list[object]:
        resources = build_task(limited(b.planned(of), launch), identity).task["resources"]
        return [entry.get("use_spot") for entry in resources.get("ordered", [resources])]

    assert asked(Launch(b.name(of, 0), on_demand=True)) == [None]
    # The same place first as spot: where it has no spot machine, the replacement is on demand.
    assert asked(Launch(b.name(of, 1))) == [True, False]


@pytest.mark.parametrize("kind", ["Spot", "SpotThenOnDemand"])
def test_an_engine_is_started_again_on_whatever_machines_there_are(kind: str) -> None:
    """SkyPilot runs no job on an on-demand machine that asks for a spot machine, nor the other way round."""
    of = mixed(1, kind=kind)
    identity = Identity("r1-0a1b2c3d-00000000-0", "serving", "r1", b.UID, "00000000", "r1-engine")
    resources = build_task(limited(b.planned(of), RunAgain(b.name(of, 0))), identity).task["resources"]
    assert "use_spot" not in resources
    assert not {"ordered", "any_of"} & resources.keys()


def test_the_ledger_remembers_how_a_replica_was_launched_and_an_adopted_one_stays_so() -> None:
    of = mixed(1, replicas=1)
    decision = passes(of)
    assert decision.replicas[0].finding.ledger.on_demand
    name = b.name(of)
    remembered = b.remembering(of, {name: b.ledger(infra="aws", on_demand=True)})
    idle = b.facts(name, skypilot=b.seen(b.row(name, **AWS)), job=b.job(JobState.NONE))
    world = b.world(remembered, idle, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED)
    assert launches(b.step(world)[0]) == {0: True}


class TestMaxHourlyCost:
    """The price of a replica on demand, and that of a spot machine, each count as what they are."""

    def limits(self, decision: Decision) -> list[Decimal | None]:
        return [action.cost_limit for _, action in decision.actions if isinstance(action, Launch)]

    def test_what_spot_machines_leave_is_there_for_the_base(self) -> None:
        of = mixed(1, kind="Spot", maxHourlyCost="40", accelerators=["A100:8"])
        prices = b.planned(of).prices
        assert prices.on_demand is not None
        assert prices.each is not None
        assert prices.each < Decimal(40) / 3 < prices.on_demand  # an equal share would not do
        base, *others = self.limits(passes(of))
        assert base is not None
        assert base >= prices.on_demand
        assert all(limit is not None and limit >= prices.each for limit in others)
        assert sum(filter(None, (base, *others))) <= 40

    def test_a_replica_on_demand_is_held_by_its_own_price(self) -> None:
        of = mixed(1, replicas=2, kind="Spot", maxHourlyCost="30", accelerators=["A100:8"])
        # The spot machine has become so dear that nothing on demand fits beside it.
        decision = passes(of, spot(b.name(of, 1), price="9"))
        assert launches(decision) == {}
        held = next(one.finding for one in decision.replicas if one.name.ordinal == 0)
        assert held.reason == "MaxHourlyCostReached"
        assert "one more on demand costs 21.96 $/h or more" in held.message

    def rolling(self, *running: tuple[ClusterName, SkyPilotCluster | None, dict[str, Any]]) -> Decision:
        """An update within 36 dollars an hour of one replica on demand, for 21.96, and one spot machine, for 6.04."""
        return passes(self.updating(), *running)

    def updating(self) -> DeepSeekDeployment:
        money = {"accelerators": ["A100:8"], "maxHourlyCost": "36"}
        kind = {"capacityType": "Spot", "capacity": {"onDemandBase": 1}}
        strategy = {"maxSurge": 1, "maxUnavailable": 1}
        return b.rented_deployment("aws/us-east-1", resources={**money, **kind}, replicas=2, updateStrategy=strategy)

    def test_an_old_replica_makes_room_where_the_new_base_is_too_dear_beside_it(self) -> None:
        of = self.updating()
        old = on_demand(b.older(of, 0), on_demand=True, price="21.96"), spot(b.older(of, 1), price="6.04")
        phases = sorted(one.finding.phase.value for one in self.rolling(*old).replicas)
        assert phases == ["Ready", "Terminating"]

    def test_no_old_replica_makes_room_where_the_new_base_is_there_and_a_spot_machine_fits_beside(self) -> None:
        of = self.updating()
        there = on_demand(b.name(of, 0), on_demand=True, price="21.96")
        decision = self.rolling(there, spot(b.older(of, 1), price="6.04"))
        assert launches(decision) == {1: False}
        assert sorted(one.finding.phase.value for one in decision.replicas) == ["Launching", "Ready", "Ready"]


class TestScalingDown:
    """A provider takes spot machines back: what is certain stays, as much of it as was asked for."""

    NAMES = tuple(b.name(mixed(1), ordinal) for ordinal in range(4))

    def retired(self, wanted: int, base: int, kinds: str) -> list[int]:
        """Ordinals that go; ``d`` is on demand, ``s`` a spot machine."""
        existing = [
            Existing(name, current=True, serving=True, hourly_cost=DEAR if kind == "d" else SPOT, on_demand=kind == "d")
            for name, kind in zip(self.NAMES, kinds, strict=False)
        ]
        found = plan_rollout(replicas=wanted, surge=1, unavailable=0, existing=existing, may_add=True, base=base)
        return sorted(name.ordinal for name in found.retire)

    @pytest.mark.parametrize(
        ("wanted", "base", "kinds", "retired"),
        [
            (2, 1, "dss", [2]),
            (1, 1, "dss", [1, 2]),
            (2, 0, "dss", [0]),
            (2, 1, "dds", [1]),
            (2, 2, "sdds", [0, 3]),
            (1, 1, "sss", [1, 2]),
            (0, 2, "dd", [0, 1]),
        ],
    )
    def test_the_dearest_goes_but_the_base_stays(self, wanted: int, base: int, kinds: str, retired: list[int]) -> None:
        assert self.retired(wanted, base, kinds) == retired
