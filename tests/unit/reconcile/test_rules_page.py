"""docs/rules.md is printed from the tables of the rules, so that it cannot go stale."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from deepseek_operator.reconcile.replica.coming import COMING
from deepseek_operator.reconcile.replica.leaving import LEAVING
from deepseek_operator.reconcile.replica.view import Rule

PAGE = Path(__file__).parents[3] / "docs" / "rules.md"
HEAD = """# The rules of one replica

Printed by `tests/unit/reconcile/test_rules_page.py` from `reconcile/replica/`; do not edit it.

A replica that serves needs no rule: its engine answers, and the Service leads to it. For every other one the rules
below are asked from top to bottom, and the first that has a finding decides. A rule that needs to know something asks
for it and waits; what is not known never takes anything away.
"""


def table(rules: Sequence[tuple[Rule, str]]) -> str:
    lines = ["| | rule | why it stands here |", "|---|---|---|"]
    lines += [
        f"| {number} | {rule.__name__.strip('_').replace('_', ' ')} | {why} |"
        for number, (rule, why) in enumerate(rules, 1)
    ]
    return "\n".join(lines)


def test_the_page_shows_the_rules(request: pytest.FixtureRequest) -> None:
    page = f"{HEAD}\n## A replica that is wanted\n\n{table(COMING)}\n\n## A replica that goes\n\n{table(LEAVING)}\n"
    if request.config.getoption("--regenerate-expected", default=False):
        PAGE.write_text(page, encoding="utf-8")
    assert page == PAGE.read_text(encoding="utf-8"), "pytest tests/unit/reconcile --regenerate-expected"
