"""The picture of the dashboard in the documentation shows the dashboard of the chart."""

import json

from hack.dashboard.source import DASHBOARD, PICTURE, SOURCE, digest


def test_the_picture_was_drawn_from_the_dashboard_as_it_is() -> None:
    of = digest(json.loads(DASHBOARD.read_text()))
    assert f"tEXt{SOURCE}\0{of}".encode() in PICTURE.read_bytes(), "run: make dashboard-picture"
