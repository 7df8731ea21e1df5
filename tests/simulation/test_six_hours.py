"""The story of the dashboard's picture (hack/dashboard): six hours at the pace of real machines."""

import json

from hack.dashboard.day import export
from hack.dashboard.source import DASHBOARD
from tests.unit.chart.test_alerts import selectors


def test_no_promise_is_broken_and_every_metric_of_the_dashboard_is_exported() -> None:
    exported = "".join(export())
    panels = json.loads(DASHBOARD.read_text())["panels"]
    wanted = {name for panel in panels for target in panel["targets"] for name, _ in selectors(target["expr"])}
    assert wanted
    assert {name for name in wanted if f"\n{name}" not in exported} == set()
