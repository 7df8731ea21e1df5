"""The operator is killed at the worst moments: one launch in total, the same cluster, and Ready in the end."""

import random
import time
from collections.abc import Callable

from tests.integration.stage import SPEC, Stage, until


def test_killed_between_the_launch_and_the_status_write_it_adopts_the_launch(alone: Stage) -> None:
    alone.skypilot.kill_on_launch = alone.operator.pid
    alone.apply("killed-post")
    alone.operator.wait()
    assert alone.skypilot.kill_on_launch is None

    alone.operator.start()

    body = alone.until_ready("killed-post")
    assert len(alone.skypilot.launches("killed-post")) == 1
    assert [c.name for c in alone.skypilot.of("killed-post")] == [body["status"]["instances"][0]["name"]]
    assert alone.skypilot.of("killed-post")[0].jobs == {1: "RUNNING"}
    assert body["status"]["instances"][0]["attempts"] == 0


def test_killed_while_nodes_come_up_it_adopts_them(alone: Stage) -> None:
    alone.skypilot.held.add("killed-prov")
    alone.apply("killed-prov")
    until(lambda: alone.skypilot.of("killed-prov"), "a launch is under way")
    until(lambda: alone.phases("killed-prov") == ["Launching"], "the launch is in the status")
    alone.operator.kill()
    generation = alone.skypilot.of("killed-prov")[0].hash

    alone.operator.start()
    alone.skypilot.held.clear()

    alone.until_ready("killed-prov")
    assert len(alone.skypilot.launches("killed-prov")) == 1
    assert [cluster.hash for cluster in alone.skypilot.of("killed-prov")] == [generation]


def test_launched_and_deleted_while_the_operator_is_dead_leaves_nothing(alone: Stage) -> None:
    alone.skypilot.kill_on_launch = alone.operator.pid
    alone.apply("killed-gone")
    alone.operator.wait()
    alone.delete("killed-gone")
    until(lambda: alone.skypilot.of("killed-gone"), "the launch goes on without the operator")

    alone.operator.start()

    alone.until_gone("killed-gone")


def test_killed_twenty_times_at_random_over_a_whole_life_nothing_leaks_and_nothing_doubles(alone: Stage) -> None:
    dice = random.Random(20)
    names = ("life-a", "life-b", "life-c")
    before = len(alone.skypilot.calls)
    steps: list[Callable[[], object]] = [
        lambda: [alone.apply(name) for name in names],
        lambda: alone.change_all(names, replicas=2),
        lambda: alone.change_all(names, engine={**SPEC["engine"], "args": ["--max-num-seqs=3"]}),
        lambda: alone.change_all(names[:2], replicas=1),
    ]
    for step in steps:
        step()
        for _ in range(5):
            time.sleep(dice.uniform(0.1, 1.5))  # the moment is what is random; nothing is waited for
            alone.operator.kill()
            alone.operator.start()
    for name, replicas in zip(names, (1, 1, 2), strict=True):
        until(lambda name=name, n=replicas: len(alone.skypilot.of(name)) == n, f"{name}: {replicas} clusters", 120)  # type: ignore[misc]
        body = alone.until_ready(name)
        assert len(body["status"]["instances"]) == replicas
        assert all(cluster.jobs == {1: "RUNNING"} for cluster in alone.skypilot.of(name)), "a job was doubled"
        assert alone.skypilot.most_at_once(name) <= 3, "more than replicas + maxSurge"
    launched = [call.body["cluster_name"] for call in alone.skypilot.calls[before:] if call.path == "/launch"]
    assert len(launched) == len(set(launched)), "a replica was launched twice"
    assert alone.audit() == (0, [])

    alone.delete(*names)
    for _ in range(3):
        time.sleep(dice.uniform(0.05, 0.5))
        alone.operator.kill()
        alone.operator.start()
    for name in names:
        alone.until_gone(name)
    assert alone.audit() == (0, [])
