"""Rows of SkyPilot's table of clusters, as ``POST /status`` of 0.14.1 writes them."""

import pytest

from deepseek_operator.skypilot.wire import cluster_rows


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("1x[spot](gpus=L4:1, cpus=4, mem=16, g6.xlarge, ...)", True),
        ("1x(gpus=L4:1, cpus=4, mem=16, g6.xlarge, ...)", False),
        ("Initializing...", False),
        (None, False),
    ],
)
def test_a_spot_machine_is_known_by_what_skypilot_writes_of_its_resources(text: str | None, spot: bool) -> None:
    row = {"name": "r1-0a1b2c3d-9f8e7d6c-0", "status": "UP", "cloud": "AWS", "resources_str": text}
    (found,) = cluster_rows([row]).values()
    assert found.spot is spot


ABNORMAL = "Cluster is abnormal because {}. Transitioned to INIT (details: cluster is unhealthy)."
"""As SkyPilot 0.14.1 writes it, ``sky/backends/backend_utils.py``."""


@pytest.mark.parametrize(
    ("state", "why", "incomplete"),
    [
        ("INIT", "one or more nodes terminated", True),
        ("INIT", "some but not all nodes are stopped", True),
        ("INIT", "ray cluster is unhealthy (1/2 ready)", True),
        ("INIT", "ray cluster is unhealthy (11/12 ready)", True),
        ("INIT", "ray cluster is unhealthy (0/2 ready)", False),
        ("INIT", "ray cluster is unhealthy (SSH connection to the head timed out)", False),
        ("INIT", "1 of 2 node(s) in unexpected state: INIT", False),
        ("UP", "one or more nodes terminated", False),
    ],
)
def test_nodes_are_missing_only_where_somebody_has_counted_them(state: str, why: str, incomplete: bool) -> None:
    row = {"name": "chat", "status": state, "nodes": 2, "last_event": ABNORMAL.format(why)}
    (found,) = cluster_rows([row]).values()
    assert found.incomplete is incomplete
