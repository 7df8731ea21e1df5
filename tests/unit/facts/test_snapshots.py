"""SkyPilot's snapshots: what they show, what they cannot show yet, and what is news."""

from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest

from deepseek_operator.facts.base import Known, Unknown
from deepseek_operator.facts.skypilot import SkyPilotCluster, SkyPilotRequest
from deepseek_operator.facts.snapshots import News, Snapshots
from deepseek_operator.facts.world import Seen
from tests.unit.reconcile import builders as b

R1, R2 = (b.name(b.deployment(), ordinal) for ordinal in (0, 1))
ROW = b.row(R1)


@pytest.fixture
def snapshots() -> Snapshots[str]:
    return Snapshots()


def shown(snapshots: Snapshots[str], *things: Any, sequence: int | None = None) -> News:
    clusters = {thing.name: thing for thing in things if isinstance(thing, SkyPilotCluster)}
    requests: dict[str, tuple[SkyPilotRequest, ...]] = defaultdict(tuple)
    for thing in things:
        if isinstance(thing, SkyPilotRequest):
            requests[thing.cluster_name] += (thing,)
    return snapshots.put(sequence or snapshots.ask(), b.NOW, clusters, requests)


def test_the_first_one_is_news_to_everybody_and_so_is_the_first_after_silence(snapshots: Snapshots[str]) -> None:
    assert shown(snapshots).recovered
    assert not shown(snapshots).recovered
    snapshots.put_unknown("refused", b.NOW)
    assert shown(snapshots).recovered


def test_silence_is_news_once_and_keeps_its_beginning(snapshots: Snapshots[str]) -> None:
    assert snapshots.put_unknown("refused", b.NOW), "never asked before"
    assert not snapshots.put_unknown("time-out", b.NOW + timedelta(seconds=9))
    assert snapshots.fact == Unknown("time-out", b.NOW)
    shown(snapshots)
    assert snapshots.put_unknown("refused", b.NOW + timedelta(seconds=20))
    assert snapshots.fact == Unknown("refused", b.NOW + timedelta(seconds=20))


def test_what_changed_is_named(snapshots: Snapshots[str]) -> None:
    other = b.row(R2)
    assert shown(snapshots, ROW, other).changed == {str(R1), str(R2)}
    assert shown(snapshots, ROW, b.row(R2, "INIT")).changed == {str(R2)}
    assert shown(snapshots, ROW).changed == {str(R2)}
    assert shown(snapshots, ROW).changed == set()


def test_a_name_without_requests_is_no_name(snapshots: Snapshots[str]) -> None:
    snapshots.put(snapshots.ask(), b.NOW, {}, {str(R1): ()})
    assert snapshots.names(R1.uid) == ()


def test_names_are_found_by_the_uid_that_they_carry(snapshots: Snapshots[str]) -> None:
    shown(snapshots, ROW, b.row(b.named("x-ffffffff-0badbeef-0")), SkyPilotCluster("my-cluster", ROW.state))
    assert snapshots.names(R1.uid) == (R1,)
    assert set(snapshots.clusters()) == {str(R1), "x-ffffffff-0badbeef-0", "my-cluster"}
    shown(snapshots, b.row(R1, "INIT"))
    assert (snapshots.names(R1.uid), snapshots.names("ffffffff")) == ((R1,), ())
    shown(snapshots)
    assert snapshots.names(R1.uid) == ()


def test_requests_have_no_cluster_until_skypilot_makes_one(snapshots: Snapshots[str]) -> None:
    shown(snapshots, b.request(R1))
    assert snapshots.clusters() == {}
    assert snapshots.of(str(R1)) == Known(Seen(None, (b.request(R1),)), b.NOW)
    assert snapshots.of(str(R2)) == Known(Seen(), b.NOW)


class TestAfterARequestOfOurs:
    def test_its_name_is_unknown_until_a_snapshot_that_was_asked_for_later(self, snapshots: Snapshots[str]) -> None:
        early = snapshots.ask()
        snapshots.acted("key", str(R1), launch=True)
        assert shown(snapshots, sequence=early).settled == set()
        assert isinstance(snapshots.of(str(R1)), Unknown)
        assert isinstance(snapshots.of(str(R2)), Known)
        assert snapshots.acted_names("key") == {str(R1)}
        assert shown(snapshots, ROW).settled == {str(R1)}
        assert snapshots.of(str(R1)) == Known(Seen(ROW), b.NOW)
        assert snapshots.acted_names("key") == set()

    def test_silence_is_named_rather_than_the_request(self, snapshots: Snapshots[str]) -> None:
        snapshots.acted("key", str(R1), launch=True)
        assert snapshots.of(str(R1)) == Unknown("SkyPilot has not shown the effect of the last request yet")
        snapshots.put_unknown("refused", b.NOW)
        assert snapshots.of(str(R1)) == Unknown("refused", b.NOW)

    def test_that_never_left_nothing_is_waited_for(self, snapshots: Snapshots[str]) -> None:
        shown(snapshots)
        snapshots.acted("key", str(R1), launch=True)
        snapshots.not_acted(str(R1))
        snapshots.not_acted(str(R2))
        assert (snapshots.pending(), snapshots.acted_names("key")) == (False, frozenset())
        assert isinstance(snapshots.of(str(R1)), Known)

    def test_that_never_left_says_nothing_of_the_other_requests_of_its_object(self, snapshots: Snapshots[str]) -> None:
        snapshots.acted("key", str(R1), launch=True)
        snapshots.acted("key", str(R2), launch=True)
        snapshots.not_acted(str(R1))
        assert snapshots.acted_names("key") == {str(R2)}

    def test_the_object_may_go(self, snapshots: Snapshots[str]) -> None:
        snapshots.acted("key", str(R1), launch=True)
        snapshots.acted("other", str(R2), launch=True)
        snapshots.drop("key")
        assert (snapshots.acted_names("key"), snapshots.acted_names("other")) == (frozenset(), frozenset({str(R2)}))
        assert snapshots.launches() == (frozenset({str(R2)}), frozenset())


def test_what_takes_a_launch_worker_is_counted(snapshots: Snapshots[str]) -> None:
    asked_before = snapshots.ask()
    snapshots.acted("key", "torn-down", launch=False)
    snapshots.acted("key", "sent", launch=True)
    things = (b.request(R1, "exec"), b.request(R2, "launch", "PENDING"), b.request(b.name(b.deployment(), 2), "down"))
    shown(snapshots, *things, sequence=asked_before)
    assert snapshots.launches() == (frozenset({str(R1), str(R2), "sent"}), frozenset({str(R2)}))


def test_nothing_is_left_of_a_request_that_outlives_its_deployment(snapshots: Snapshots[str]) -> None:
    snapshots.acted("r1", str(R1), launch=True)
    snapshots.drop("r1")
    snapshots.acted("r1", str(R1), launch=True)
    shown(snapshots)
    assert (snapshots._acted, snapshots._acted_of) == ({}, {})
