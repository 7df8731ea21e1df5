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
