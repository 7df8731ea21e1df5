"""The fact store: SkyPilot's snapshots, whose clusters they show, and when one of them counts."""

from dataclasses import replace
from datetime import timedelta

from deepseek_operator.facts.base import Known, Unknown
from deepseek_operator.facts.store import Store
from tests.unit.facts.stored import KEY, R1, Woken, pod_body, snapshot, world
from tests.unit.reconcile import builders as b


def test_before_the_first_snapshot_everything_of_skypilot_is_unknown(store: Store) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    found = world(store)
    assert isinstance(found.skypilot, Unknown)
    assert isinstance(found.replicas[R1].skypilot, Unknown)
    assert found.replicas[R1].pods == (b.pod(R1),)


def test_a_snapshot_wakes_the_deployments_whose_clusters_changed(store: Store, woken: Woken) -> None:
    snapshot(store, b.row(R1))
    assert woken.all() == [KEY]
    snapshot(store, b.row(R1))
    assert woken.all() == []
    snapshot(store, b.row(R1, "INIT"))
    assert woken.all() == [KEY]


def test_clusters_of_others_are_not_ours(store: Store) -> None:
    gone, stranger = b.named("r1-ffffffff-0badbeef-0"), b.named(f"x-{b.UID[:8]}-0badbeef-0")
    snapshot(store, b.row(R1, user="us"), b.row(gone, user="us"), b.row(stranger, user="them"))
    assert set(world(store).replicas) == {R1}
    assert store.orphans("us") == (str(gone),)


def test_after_a_request_of_ours_only_a_later_snapshot_counts(store: Store, woken: Woken) -> None:
    snapshot(store)
    early = store.ask_snapshot()
    store.acted(KEY, str(R1), launch=True)
    snapshot(store, sequence=early)
    assert isinstance(world(store).replicas[R1].skypilot, Unknown)
    assert store.snapshot_pending()
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]
    assert R1 not in world(store).replicas
    assert not store.snapshot_pending()


def test_a_process_that_takes_over_believes_no_snapshot_that_was_asked_for_before(store: Store, woken: Woken) -> None:
    snapshot(store)  # the process before launches R1 after it
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    assert isinstance(world(store).replicas[R1].skypilot, Known)
    under_way = store.ask_snapshot()
    store.outdate_snapshot()
    assert isinstance(world(store).skypilot, Unknown)
    snapshot(store, sequence=under_way)
    woken.clear()
    assert isinstance(world(store).replicas[R1].skypilot, Unknown), "it may have been answered before the launch"
    snapshot(store, b.row(R1))
    assert isinstance(world(store).skypilot, Known)
    assert woken.all() == [KEY]


def test_while_skypilot_is_away_what_was_seen_last_is_kept_for_display(store: Store, woken: Woken) -> None:
    snapshot(store, b.row(R1))
    woken.clear()
    store.put_skypilot_unknown("connection refused", b.NOW)
    store.put_skypilot_unknown("connection refused", b.NOW + timedelta(seconds=2))
    found = world(store).replicas[R1]
    assert found.skypilot == Unknown("connection refused", b.NOW)
    assert found.last_seen.cluster == b.row(R1)
    assert woken.all() == [KEY]


def test_launches_in_flight_are_counted_from_the_moment_they_are_sent(store: Store) -> None:
    store.acted(KEY, str(R1), launch=True)
    assert store.launches() == (frozenset({str(R1)}), frozenset())
    snapshot(store, b.request(R1, state="PENDING"))
    assert store.launches() == (frozenset({str(R1)}), frozenset({str(R1)}))
    snapshot(store, b.row(R1))
    assert store.launches() == (frozenset(), frozenset())


def test_two_objects_whose_uids_begin_alike_are_told_apart(store: Store, woken: Woken) -> None:
    twin = b.UID[:8] + "-ffff-ffff-ffff-ffffffffffff"
    other = {
        "metadata": {"name": "r2", "namespace": "serving", "uid": twin, "resourceVersion": "7"},
        "spec": b.CPU_SPEC,
    }
    store.put_deployment(other)
    woken.clear()
    snapshot(store)
    woken.clear()
    snapshot(store, b.row(R1))
    assert woken.all() == [KEY]
    store.drop_deployment(("serving", "r2"), twin)
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]


def test_a_server_that_can_be_asked_again_wakes_everybody(store: Store, woken: Woken) -> None:
    snapshot(store)
    assert woken.all() == [KEY]
    snapshot(store)
    assert woken.all() == []
    store.put_skypilot_unknown("refused", b.NOW)
    woken.clear()
    snapshot(store)
    assert woken.all() == [KEY]


def test_a_name_about_which_we_have_asked_belongs_to_the_world_at_once(store: Store) -> None:
    store.acted(KEY, str(R1), launch=True)
    assert set(world(store).replicas) == {R1}
    assert store.names(KEY) == {str(R1)}
    assert store.names(("serving", "gone")) == set()


def test_a_name_that_skypilot_shows_is_one_of_its_deployment(store: Store) -> None:
    snapshot(store, b.row(R1))
    assert store.names(KEY) == {str(R1)}
    assert store.names(("serving", "gone")) == set()


def test_only_clusters_that_we_launched_and_nobody_owns_are_orphans(store: Store) -> None:
    snapshot(
        store,
        b.row(R1, user="us"),
        b.row(b.named("x-ffffffff-0badbeef-0"), user="us"),
        b.row(b.named("y-ffffffff-0badbeef-0"), user="them"),
        replace(b.row(R1, user="us"), name="my-cluster"),
    )
    assert store.orphans("us") == ("x-ffffffff-0badbeef-0",)
