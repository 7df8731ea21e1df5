"""The fact store: which version of a deployment is kept, when it is forgotten, and what a new one inherits."""

from typing import Any

import pytest

from deepseek_operator.facts.store import Store
from tests.unit.facts.stored import DSD, KEY, NEW_UID, R1, Woken, body, pod_body, world
from tests.unit.reconcile import builders as b


def test_an_older_object_never_replaces_a_newer_one(store: Store, woken: Woken) -> None:
    store.put_deployment(body(5, replicas=3))
    store.put_deployment(body(4, replicas=2))
    assert world(store).deployment.spec.replicas == 3
    assert woken.all() == [KEY]


def test_the_answer_to_our_own_write_wakes_no_one_and_neither_does_its_event(store: Store, woken: Woken) -> None:
    store.put_deployment(body(5), wake=False)
    store.put_deployment(body(5))
    assert woken.all() == []


@pytest.mark.parametrize(
    "edit", [{"generation": 2}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}], ids=["spec", "deletion"]
)
def test_an_edit_that_is_first_seen_in_the_answer_to_our_own_write_wakes_as_any_other(edit: dict[str, Any]) -> None:
    woken: list[str] = []
    store = Store(lambda _: woken.append("other"), wake_edited=lambda _: woken.append("edited"))
    store.put_deployment(body(5))
    woken.clear()
    answer, event = body(7), body(6)
    store.put_deployment({**answer, "metadata": answer["metadata"] | edit}, wake=False)
    # What the watch says of the edit comes too late: it is older than the answer.
    store.put_deployment({**event, "metadata": event["metadata"] | edit})
    assert woken == ["edited"]


def test_a_deletion_is_forgotten_unless_a_new_object_has_come(store: Store, woken: Woken) -> None:
    new = "ffffffff-0000-0000-0000-000000000000"
    store.put_deployment(body(9, uid=new))
    store.drop_deployment(KEY, b.UID)
    assert world(store).deployment.metadata.uid == new
    store.drop_deployment(KEY, new)
    assert store.world(KEY, b.NOW) is None
    assert woken.all() == [KEY, KEY]


@pytest.mark.parametrize("uid", ["", b.UID])
def test_after_a_deletion_the_name_is_free_for_any_version(store: Store, uid: str) -> None:
    store.put_deployment(body(9))
    store.drop_deployment(KEY, uid)
    store.put_deployment(body(1))
    assert world(store).deployment.metadata.uid == b.UID


def test_a_late_event_does_not_bring_back_what_was_released(store: Store) -> None:
    store.put_deployment(body(9))
    store.drop_released(world(store).deployment)
    store.put_deployment(body(9))
    assert store.world(KEY, b.NOW) is None
    store.drop_deployment(KEY, b.UID)  # the watch has seen it go: from now on the name is free again
    store.put_deployment(body(1))
    assert world(store).deployment.metadata.uid == b.UID


def test_a_release_that_is_answered_late_does_not_drop_the_object_that_has_come_since(store: Store) -> None:
    released, other = world(store).deployment, "0badcafe-4e5f-6789-abcd-ef0123456789"
    store.put_deployment(body(2, uid=other))
    store.drop_released(released)
    assert world(store).deployment.metadata.uid == other


def test_a_release_that_is_answered_after_the_watch_has_seen_the_object_go_wakes_no_one(
    store: Store, woken: Woken
) -> None:
    released = world(store).deployment
    store.drop_deployment(KEY, b.UID)
    woken.clear()
    store.drop_released(released)
    assert woken.all() == []


def test_a_status_that_could_not_be_written_is_part_of_the_world(store: Store) -> None:
    remembered = b.remembering(DSD, {R1: b.ledger()}).status
    store.put_unsaved(DSD, remembered)
    assert set(world(store).replicas) == {R1}
    assert world(store).deployment.status == remembered
    assert store.stored_status(KEY) == DSD.status
    assert store.stored_status(("serving", "gone")) is None
    store.drop_unsaved(KEY)
    assert world(store).deployment.status == DSD.status


@pytest.mark.parametrize(
    ("changed", "edited"),
    [
        ({"generation": 2}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({"annotations": {"deepseek-operator.io/abandon": "x"}}, True),
        ({"finalizers": ["somebody.else/finalizer"]}, False),
        ({}, False),
    ],
    ids=["spec", "deletion", "annotation", "finalizer", "status"],
)
def test_what_a_user_changes_is_told_from_what_else_changes(changed: dict[str, Any], edited: bool) -> None:
    woken: list[str] = []
    store = Store(lambda _: woken.append("other"), wake_edited=lambda _: woken.append("edited"))
    store.put_deployment(body())
    after = body(2)
    store.put_deployment({**after, "metadata": after["metadata"] | changed})
    assert woken == ["edited", "edited" if edited else "other"]


def test_an_object_that_has_changed_keeps_what_is_known_of_it(store: Store) -> None:
    store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
    store.put_service_conflict(KEY, conflict=True)
    store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
    before = world(store)
    store.put_deployment(body(9, replicas=2))
    after = world(store)
    assert after.deployment.spec.replicas == 2
    assert (after.replicas, after.service_conflict) == (before.replicas, True)
    assert after.deployment.status == before.deployment.status


class TestAnObjectThatWasCreatedAgain:
    def test_has_nothing_of_its_predecessor(self, store: Store) -> None:
        store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
        store.put_service_conflict(KEY, conflict=True)
        store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
        store.put_deployment(body(9, uid=NEW_UID))
        found = world(store)
        assert (found.replicas, found.service_conflict, found.deployment.status.instances) == ({}, False, ())
        assert store.orphans("us") == ()

    def test_is_not_woken_by_what_its_predecessor_owned(self, store: Store, woken: Woken) -> None:
        store.put_deployment(body(9, uid=NEW_UID))
        woken.clear()
        store.put_owned("pods", b.UID, pod_body("p"), b.pod(R1))
        assert woken.all() == []

    def test_does_not_inherit_a_status_that_is_written_late(self, store: Store) -> None:
        store.put_deployment(body(9, uid=NEW_UID))
        store.put_unsaved(DSD, b.remembering(DSD, {R1: b.ledger()}).status)
        assert world(store).deployment.status.instances == ()

    def test_is_not_replaced_by_an_event_from_before_it(self, store: Store) -> None:
        store.put_deployment(body(9, uid=NEW_UID))
        store.drop_deployment(KEY, b.UID)
        store.put_deployment(body(8))
        assert world(store).deployment.metadata.uid == NEW_UID


def test_an_edit_changes_the_revision_and_a_write_of_the_status_does_not(store: Store) -> None:
    first = world(store).revision
    store.put_deployment(body(2))
    assert world(store).revision == first
    store.put_deployment(body(3, endpoint={"port": 9000}))
    assert world(store).revision != first


def test_what_comes_of_a_write_for_a_deployment_that_is_gone_is_nothing_to_the_next_one_of_its_name(
    store: Store, woken: Woken
) -> None:
    store.drop_deployment(KEY)
    woken.clear()
    store.put_service_conflict(KEY, conflict=True)
    assert woken.all() == []
    store.put_deployment(body(2, uid=NEW_UID))
    assert not world(store).service_conflict
