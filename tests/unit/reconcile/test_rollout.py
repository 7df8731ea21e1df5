"""Which replicas come, stay and go: examples as a table, and the two invariants as properties."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.spec import UpdateStrategy
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.reconcile.rollout import Existing, Rollout, limits, plan_rollout
from tests.unit.reconcile import builders as b

NEW, OLD = "22222222", "11111111"


def names(revision: str, *ordinals: int) -> tuple[ClusterName, ...]:
    return tuple(ClusterName(f"r1-0a1b2c3d-{revision}-{n}", "0a1b2c3d", revision, n) for n in ordinals)


def rollout(
    replicas: int,
    existing: tuple[ClusterName, ...],
    ready: tuple[ClusterName, ...],
    surge: int = 1,
    unavailable: int = 0,
    *,
    may_add: bool = True,
) -> Rollout:
    found = tuple(Existing(name, current=name.revision == NEW, serving=name in ready) for name in existing)
    return plan_rollout(replicas=replicas, surge=surge, unavailable=unavailable, existing=found, may_add=may_add)


def test_a_new_deployment_starts_all_replicas_at_once() -> None:
    assert rollout(3, (), ()).add == (0, 1, 2)


def test_scaling_down_keeps_those_that_answer() -> None:
    existing = names(NEW, 0, 1, 2)
    assert rollout(1, existing, (existing[2],)).retire == (existing[0], existing[1])


def test_scaling_down_keeps_the_cheapest_of_those_that_answer() -> None:
    dear, cheap = names(NEW, 0, 1)
    found = [
        Existing(dear, current=True, serving=True, hourly_cost=Decimal(40)),
        Existing(cheap, current=True, serving=True, hourly_cost=Decimal(2)),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert (result.keep, result.retire) == ((cheap,), (dear,))


def test_a_replica_whose_teardown_failed_does_not_push_out_one_that_stays() -> None:
    leaving, staying = names(NEW, 0, 1)
    found = [
        Existing(leaving, current=True, serving=True, leaving=True),
        Existing(staying, current=True, serving=True),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert (result.keep, result.retire) == ((staying,), (leaving,))


@pytest.mark.parametrize("may_add", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_scaling_down_waits_until_those_that_stay_have_been_asked(*, may_add: bool, asked: bool) -> None:
    staying, going, silent = names(NEW, 0, 1, 2)
    found = [
        Existing(staying, current=True, serving=True, asked=asked),
        Existing(going, current=True, serving=True),
        Existing(silent, current=True, serving=False),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=may_add)
    assert result.keep == (staying,)
    assert (result.serve, result.retire) == (((), (going, silent)) if asked else ((going,), (silent,)))


@pytest.mark.parametrize("asked", [True, False])
def test_an_old_replica_stays_until_its_successor_has_been_asked(*, asked: bool) -> None:
    (old,), (new,) = names(OLD, 0), names(NEW, 0)
    found = [Existing(old, current=False, serving=True), Existing(new, current=True, serving=True, asked=asked)]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert (result.serve, result.retire) == (((), (old,)) if asked else ((old,), ()))


@pytest.mark.parametrize("may_add", [True, False])
def test_of_those_that_serve_the_ones_stay_to_which_the_service_leads(*, may_add: bool) -> None:
    """A slice may be refused: traffic goes on where it went."""
    (unpublished,), (staying, other) = names("33333333", 0), names(OLD, 0, 1)
    found = [
        Existing(unpublished, current=False, serving=True, published=False),
        Existing(staying, current=False, serving=True),
        Existing(other, current=False, serving=True),
    ]
    result = plan_rollout(replicas=2, surge=0, unavailable=0, existing=found, may_add=may_add)
    assert (result.serve, result.retire) == ((staying, other), (unpublished,))


@pytest.mark.parametrize("published", [True, False], ids=["and leads to another that is silent", "and leads nowhere"])
def test_one_that_serves_stays_before_one_that_is_silent_where_the_service_does_not_lead_to_it(
    *, published: bool
) -> None:
    silent, serving = names(NEW, 0, 1)
    found = [
        Existing(silent, current=True, serving=False, published=published, recovering=True),
        Existing(serving, current=True, serving=True, published=False),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert (result.keep, result.retire) == ((serving,), (silent,))


def test_a_removal_that_has_begun_goes_on_beside_one_that_has_not_been_asked() -> None:
    staying, going = names(NEW, 0, 1)
    found = [
        Existing(staying, current=True, serving=True, asked=False),
        Existing(going, current=True, serving=True, leaving=True),
    ]
    assert plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True).retire == (going,)


def test_one_that_does_not_serve_need_not_be_asked_before_others_go() -> None:
    (starting,), (staying, going) = names(NEW, 0), names(OLD, 0, 1)
    found = [
        Existing(starting, current=True, serving=False, asked=False),
        Existing(staying, current=False, serving=True),
        Existing(going, current=False, serving=True),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert (result.keep, result.serve, result.retire) == ((starting,), (staying,), (going,))


def test_an_older_replica_on_demand_is_no_part_of_the_base() -> None:
    (old,), (cheap, on_demand) = names(OLD, 0), names(NEW, 0, 1)
    found = [
        Existing(old, current=False, serving=True, on_demand=True),
        Existing(cheap, current=True, serving=False, hourly_cost=Decimal(1)),
        Existing(on_demand, current=True, serving=False, hourly_cost=Decimal(5), on_demand=True),
    ]
    result = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True, base=1)
    assert (result.keep, result.serve, result.retire) == ((on_demand,), (old,), (cheap,))


def test_scaling_down_works_although_the_spec_cannot_be_launched() -> None:
    existing = names(OLD, 0, 1)
    result = rollout(1, existing, existing, may_add=False)
    assert (result.serve, result.retire, result.add) == (existing[:1], existing[1:], ())


def test_what_serves_is_left_alone_while_the_spec_cannot_be_launched() -> None:
    existing = names(OLD, 0, 1)
    assert rollout(2, existing, existing, may_add=False).serve == existing


def test_a_replica_that_waits_for_its_next_attempt_is_launched_only_if_there_is_room() -> None:
    old, waiting = names(OLD, 0, 1), names(NEW, 0)
    found = [Existing(name, current=False, serving=True) for name in old]
    found.append(Existing(waiting[0], current=True, serving=False, present=False))
    crowded = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True)
    assert crowded.launchable == frozenset()
    roomy = plan_rollout(replicas=1, surge=1, unavailable=0, existing=found[1:], may_add=True)
    assert roomy.launchable == frozenset(waiting)


def test_an_old_replica_that_may_come_back_is_not_removed_yet() -> None:
    (old,) = names(OLD, 0)
    found = [Existing(old, current=False, serving=False, recovering=True)]
    assert plan_rollout(replicas=1, surge=1, unavailable=0, existing=found, may_add=True).serve == (old,)


def test_scaling_up_fills_free_ordinals() -> None:
    assert rollout(3, names(NEW, 0, 2), ()).add == (1,)


def test_a_change_starts_one_new_replica_beside_the_old_one() -> None:
    old = names(OLD, 0)
    result = rollout(1, old, old)
    assert (result.add, result.serve, result.retire) == ((0,), old, ())


def test_an_old_replica_goes_once_the_new_one_answers() -> None:
    old, new = names(OLD, 0), names(NEW, 0)
    result = rollout(1, old + new, old + new)
    assert (result.keep, result.retire) == (new, old)


def test_an_old_replica_that_does_not_answer_is_not_waited_for() -> None:
    old, new = names(OLD, 0), names(NEW, 0)
    assert rollout(1, old + new, ()).retire == old


def test_without_surge_an_old_replica_makes_room() -> None:
    old = names(OLD, 0, 1)
    result = rollout(2, old, old, surge=0, unavailable=1)
    assert (result.serve, result.retire, result.add) == (old[:1], old[1:], ())


@pytest.mark.parametrize(
    ("strategy", "replicas", "expected"),
    [
        ({}, 4, (1, 0)),
        ({"max_surge": "25%", "max_unavailable": "25%"}, 5, (2, 1)),
        ({"max_surge": "0", "max_unavailable": "0"}, 5, (0, 1)),
        ({"max_surge": "0%", "max_unavailable": "10%"}, 5, (0, 1)),
        ({"max_surge": "0", "max_unavailable": "2"}, 5, (0, 2)),
    ],
)
def test_percentages_are_rounded_as_for_deployments_and_never_both_to_0(
    strategy: dict[str, str], replicas: int, expected: tuple[int, int]
) -> None:
    assert limits(UpdateStrategy(**strategy), replicas) == expected


Situation = tuple[int, int, int, tuple[ClusterName, ...], frozenset[ClusterName]]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    replicas = draw(st.integers(0, 5))
    surge = draw(st.integers(0, 3))
    unavailable = draw(st.integers(0 if surge else 1, 3))
    ordinals = st.sets(st.integers(0, 6), max_size=5)
    existing = names(NEW, *sorted(draw(ordinals))) + names(OLD, *sorted(draw(ordinals)))
    ready = frozenset(name for name in existing if draw(st.booleans()))
    return replicas, surge, unavailable, existing, ready


@given(situations())
def test_never_more_than_replicas_and_surge_because_of_what_is_started(situation: Situation) -> None:
    replicas, surge, unavailable, existing, ready = situation
    result = rollout(replicas, existing, tuple(ready), surge, unavailable)
    assert not result.add or len(existing) + len(result.add) <= replicas + surge


@given(situations())
def test_never_fewer_answer_than_allowed_because_of_what_is_stopped(situation: Situation) -> None:
    replicas, surge, unavailable, existing, ready = situation
    result = rollout(replicas, existing, tuple(ready), surge, unavailable)
    answering = sum(name in ready for name in (*result.keep, *result.serve))
    before = min(len(ready), replicas)
    assert answering >= min(before, max(0, replicas - unavailable))


@settings(deadline=None)  # it draws for each replica, and machines are shared
@given(situations(), st.data())
def test_never_fewer_are_known_to_answer_than_allowed_because_of_what_is_stopped(
    situation: Situation, data: st.DataObject
) -> None:
    replicas, surge, unavailable, existing, ready = situation
    asked = frozenset(name for name in existing if data.draw(st.booleans()))
    found = [Existing(one, current=one.revision == NEW, serving=one in ready, asked=one in asked) for one in existing]
    result = plan_rollout(replicas=replicas, surge=surge, unavailable=unavailable, existing=found, may_add=True)
    known = ready & asked
    left = sum(name in known for name in (*result.keep, *result.serve))
    assert left >= min(len(known), max(0, replicas - unavailable))
    assert sorted((*result.keep, *result.serve, *result.retire)) == sorted(existing)


@given(situations())
def test_every_replica_is_accounted_for_once(situation: Situation) -> None:
    replicas, surge, unavailable, existing, ready = situation
    result = rollout(replicas, existing, tuple(ready), surge, unavailable)
    assert sorted((*result.keep, *result.serve, *result.retire)) == sorted(existing)


@given(situations())
def test_a_rollout_always_ends(situation: Situation) -> None:
    """If every started replica comes to answer and every retired one goes, only wanted ones remain."""
    replicas, surge, unavailable, existing, ready = situation
    for _ in range(40):
        result = rollout(replicas, existing, tuple(ready), surge, unavailable)
        added = names(NEW, *result.add)
        existing = tuple(sorted((*result.keep, *result.serve, *added)))
        ready = frozenset((*(n for n in result.keep), *result.serve, *added))
    assert len(existing) == replicas
    assert all(name.revision == NEW for name in existing)


class TestGuards:
    """What keeps an older replica until its successor is really there."""

    OF = b.deployment(replicas=2)
    NEW = (b.name(OF, 0), b.name(OF, 1))
    OLD = (b.older(OF, 0), b.older(OF, 1))

    def old(self, ordinal: int, **known: Any) -> Existing:
        return Existing(self.OLD[ordinal], current=False, **{"serving": True, **known})

    def new(self, ordinal: int, **known: Any) -> Existing:
        return Existing(self.NEW[ordinal], current=True, **{"serving": True, **known})

    def plan(self, *existing: Existing, surge: int = 1, unavailable: int = 0, may_add: bool = True) -> Rollout:
        return plan_rollout(replicas=2, surge=surge, unavailable=unavailable, existing=existing, may_add=may_add)

    def test_a_new_replica_that_is_not_published_replaces_no_older_one(self) -> None:
        found = self.plan(self.old(0), self.old(1), self.new(0, published=False))
        assert (found.serve, found.retire) == (self.OLD, ())

    def test_a_new_replica_that_does_not_serve_replaces_no_older_one(self) -> None:
        found = self.plan(self.old(0), self.old(1), self.new(0, serving=False))
        assert (found.serve, found.retire) == (self.OLD, ())

    def test_without_surge_one_older_replica_makes_room(self) -> None:
        found = self.plan(self.old(0), self.old(1), surge=0, unavailable=1)
        assert (found.serve, found.retire, found.add) == (self.OLD[:1], self.OLD[1:], ())

    def test_with_room_none_has_to(self) -> None:
        assert self.plan(self.old(0), self.old(1), surge=1, unavailable=1).retire == ()

    def test_nor_while_another_one_is_going_already(self) -> None:
        going = Existing(b.older(self.OF, 2), current=False, serving=False, leaving=True)
        assert self.plan(self.old(0), self.old(1), going, surge=0, unavailable=1).serve == self.OLD

    def test_nor_when_nothing_is_missing(self) -> None:
        found = self.plan(self.old(0), self.new(0), self.new(1, serving=False), surge=1, unavailable=1)
        assert found.serve == self.OLD[:1]

    def test_without_a_plan_one_that_may_come_back_is_kept(self) -> None:
        found = self.plan(self.old(0, serving=False, recovering=True), may_add=False)
        assert (found.serve, found.retire) == (self.OLD[:1], ())
        assert self.plan(self.old(0, serving=False), may_add=False).retire == self.OLD[:1]

    def test_without_a_plan_nothing_is_added_and_no_new_replica_is_given_up(self) -> None:
        found = self.plan(self.old(0), self.new(0, serving=False), may_add=False)
        assert (found.keep, found.serve, found.retire) == (self.NEW[:1], self.OLD[:1], ())
        assert self.plan(self.new(0), may_add=False).add == ()

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            ({"serving": True}, {"serving": False}),
            ({"serving": False, "recovering": True}, {"serving": False}),
            ({}, {"leaving": True}),
            ({"serving": False, "present": True}, {"serving": False, "present": False}),
        ],
        ids=["serves", "may come back", "is not being removed", "exists"],
    )
    def test_of_two_the_one_is_kept_that(self, better: dict[str, Any], worse: dict[str, Any]) -> None:
        for good, bad in ((0, 1), (1, 0)):
            existing = [self.new(good, **better), self.new(bad, **worse)]
            found = plan_rollout(replicas=1, surge=1, unavailable=0, existing=existing, may_add=True)
            assert found.keep == (self.NEW[good],)

    def test_of_two_that_serve_without_a_plan_the_current_one_is_kept(self) -> None:
        existing = [self.old(0), self.new(1)]
        found = plan_rollout(replicas=1, surge=1, unavailable=0, existing=existing, may_add=False)
        assert (found.keep, found.serve, found.retire) == (self.NEW[1:], (), self.OLD[:1])

    def test_of_equal_ones_the_dearest_goes_and_an_unknown_price_counts_as_none(self) -> None:
        dear = self.new(0, hourly_cost=Decimal(9))
        cheap = Existing(b.name(self.OF, 2), current=True, serving=True, hourly_cost=Decimal(1))
        found = self.plan(dear, self.new(1), cheap)
        assert found.retire == (self.NEW[0],)
