"""What a real Prometheus has seen of the operators of this run, at its end."""

import re

import pytest

from tests.install.prometheus import Prometheus
from tests.unit.chart.test_alerts import ALERTS, queries, selectors
from tests.unit.exported import series

pytestmark = pytest.mark.last

NEVER = {
    "deepseek_operator_kv_cache_prediction_error_ratio": "no KV cache is planned for a model of unknown size",
    "deepseek_operator_replica_failures_total": "no replica fails in this suite",
}
"""Series that no test of this suite brings about, and why."""
EMPTY = {
    "How far off is the planner about starts?": "nothing is expected of a model whose size is not known",
    "KV cache beside the plan": "the same",
    "Where was the planner too optimistic about memory?": "the same",
    "Where do requests wait?": "the engine has no queue",
    "Failures of replicas": "no replica fails in this suite",
    "Why do launches fail?": "no launch fails in this suite",
    "Errors of SkyPilot": "pods are scraped while SkyPilot answers; whether it fails later is chance",
}
"""Panels and questions without data in this run, and why."""


def test_every_documented_series_was_scraped(prometheus: Prometheus) -> None:
    missing = {name for name in series() if not prometheus.over_the_run(name)}
    assert missing <= set(NEVER)


def test_every_query_of_the_dashboard_and_of_the_documentation_had_data(prometheus: Prometheus) -> None:
    alerts = {rule["alert"] for rule in ALERTS}
    empty = set()
    for where, query in queries():
        if where in alerts or where.startswith("$"):
            continue
        # A rate over days needs days; over this run it is the run.
        short = re.sub(r"\[\d+[hd]\]", "[5m]", query.replace('"$namespace"', '".*"'))
        results = prometheus.over_the_run(short)
        if not any(value != "NaN" for one in results for _, value in one["values"]):
            empty.add(where)
    assert empty <= set(EMPTY)


def test_every_alert_was_evaluated_over_series_that_exist_and_none_fired(prometheus: Prometheus) -> None:
    """Where nothing is scraped, as between two releases, an operator that does not act is what there is."""
    rules = {rule["name"]: rule for rule in prometheus.rules()}
    assert rules.keys() == {rule["alert"] for rule in ALERTS}
    for rule in ALERTS:
        assert rules[rule["alert"]]["health"] == "ok", rules[rule["alert"]]
        for name, _ in selectors(rule["expr"]):
            assert name in NEVER or prometheus.over_the_run(name), name
    assert prometheus.over_the_run("ALERTS")
    assert prometheus.over_the_run('ALERTS{alertstate="firing"} and on() count(up == 1)') == []
