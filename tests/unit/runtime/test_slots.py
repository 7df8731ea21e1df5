"""Launch slots: in order of arrival, and nobody is forgotten."""

from typing import Any

from deepseek_operator.facts.names import cluster_name, revision_of
from deepseek_operator.facts.store import Store
from deepseek_operator.runtime.slots import LaunchSlots
from tests.unit.reconcile import builders as b

KEYS = [("serving", f"r{number}") for number in range(4)]


class Stage:
    """A store in which launches come and go, and slots."""

    def __init__(self, limit: int) -> None:
        self.store = Store(lambda key: None)
        self.woken: list[tuple[str, str]] = []
        self.slots = LaunchSlots(self.store, limit, self.woken.append)

    def take(self, number: int) -> bool:
        """Let the deployment of a number ask for a slot, and use it if it gets one."""
        granted = self.slots.take(KEYS[number], self.name(number))
        if granted:
            self.send(KEYS[number], self.name(number))
        return granted

    def send(self, key: tuple[str, str], name: str) -> None:
        """Let a launch be sent."""
        self.store.acted(key, name, launch=True)
        self.slots.used(name)

    def end(self, *numbers: int) -> None:
        """Let the launches of some deployments end."""
        for number in numbers:
            self.store.not_acted(self.name(number))
        self.slots.release()

    @staticmethod
    def name(number: int) -> str:
        """The cluster name of a deployment."""
        of = b.deployment()
        return str(cluster_name(of, revision_of(of.spec), number))


def test_launches_beyond_the_limit_wait() -> None:
    stage = Stage(2)
    assert [stage.take(number) for number in range(3)] == [True, True, False]


def test_a_free_slot_goes_to_who_has_waited_longest() -> None:
    stage = Stage(1)
    assert [stage.take(number) for number in range(3)] == [True, False, False]
    stage.end(0)
    assert stage.woken == [KEYS[1]]
    assert stage.take(3) is False
    assert stage.take(2) is False
    assert stage.take(1) is True
    stage.end(1)
    assert stage.woken[-1] == KEYS[2]


def test_one_deployment_with_many_replicas_does_not_keep_the_others_waiting() -> None:
    stage = Stage(1)
    big, small = ("serving", "big"), ("serving", "small")
    running, *waiting, other = [stage.name(number) for number in range(10, 15)]
    assert stage.slots.take(big, running)
    stage.send(big, running)
    assert not any(stage.slots.take(big, name) for name in waiting)
    assert stage.slots.waiting == len(waiting), "launches, not deployments"
    assert not stage.slots.take(small, other)

    order = []
    for _ in range(4):
        stage.store.not_acted(running)
        stage.slots.release()
        key = stage.woken[-1]
        running = next(name for name in (other, *waiting) if (name == other) == (key == small))
        assert stage.slots.take(key, running)
        stage.send(key, running)
        waiting = [name for name in waiting if name != running]
        order.append(key)
    assert order == [big, small, big, big]


def test_a_slot_is_not_granted_twice_before_its_launch_is_sent() -> None:
    stage = Stage(1)
    assert stage.slots.take(KEYS[0], stage.name(0))
    assert not stage.slots.take(KEYS[1], stage.name(1))
    stage.slots.used(stage.name(0))  # it could not be sent
    assert stage.slots.take(KEYS[1], stage.name(1))


def test_who_does_not_want_to_launch_any_more_holds_nobody_up() -> None:
    stage = Stage(1)
    assert [stage.take(number) for number in range(3)] == [True, False, False]
    stage.slots.keep(KEYS[1], {stage.name(1)})
    stage.end(0)
    assert stage.take(2) is False
    stage.slots.keep(KEYS[1], ())
    assert stage.take(2) is True


def test_who_is_gone_holds_nobody_up() -> None:
    stage = Stage(1)
    assert [stage.take(number) for number in range(3)] == [True, False, False]
    stage.slots.forget(KEYS[1])
    stage.end(0)
    assert stage.take(2) is True


def test_a_launch_that_cannot_proceed_learns_that_others_wait() -> None:
    stage = Stage(1)
    stage.take(0)
    assert not stage.slots.others_wait(KEYS[0])
    stage.take(1)
    assert stage.slots.others_wait(KEYS[0])
    assert not stage.slots.others_wait(KEYS[1])


def test_a_launch_without_a_worker_counts_as_waiting() -> None:
    of = b.deployment()
    body: dict[str, Any] = {
        "metadata": {"name": "r1", "namespace": "serving", "uid": b.UID, "resourceVersion": "1"},
        "spec": b.CPU_SPEC,
    }
    stage = Stage(8)
    stage.store.put_deployment(body)
    name = b.name(of)
    stage.store.put_snapshot(stage.store.ask_snapshot(), b.NOW, {}, {str(name): (b.request(name, state="PENDING"),)})
    assert stage.slots.others_wait(("serving", "other"))
    assert not stage.slots.others_wait(("serving", "r1"))
