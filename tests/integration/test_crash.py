"""The operator is killed at the worst moments: one launch in total, the same cluster, and Ready in the end."""

from tests.integration.stage import Stage, until


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
