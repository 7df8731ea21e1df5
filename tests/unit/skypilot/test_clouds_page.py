"""docs/clouds.md says of each code what the operator makes of it."""

import re
from pathlib import Path

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.reconcile.replica.retry import retry_of
from deepseek_operator.skypilot.codes import CODES

PAGE = (Path(__file__).parents[3] / "docs" / "clouds.md").read_text(encoding="utf-8")
ROWS = [re.split(r"\s*\|\s*", line)[1:-1] for line in PAGE.splitlines() if re.match(r"\| `[A-Z]\w+` \|", line)]
STATED = [(row[0].strip("`"), code) for row in ROWS for code in re.findall(r"`([\w.]+)`(?! with)", " ".join(row[1:4]))]


@pytest.mark.parametrize(("reason", "code"), [pair for pair in STATED if not pair[1].endswith("...")])
def test_a_code_of_the_page_has_the_reason_of_the_page(reason: str, code: str) -> None:
    assert next(str(known) for known, pattern in CODES if pattern.search(code)) == reason


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_page_states_the_waits_that_are_kept(row: list[str]) -> None:
    rule = retry_of(Reason(row[0].strip("`")))
    shown = [f"{wait} s" if wait < 60 else f"{wait // 60} min" for wait in (rule.first_s, rule.cap_s)]
    assert row[4] == " to ".join(shown)


def test_the_page_has_every_reason_of_a_provider() -> None:
    assert [row[0].strip("`") for row in ROWS] == [str(reason) for reason, _ in CODES if reason != Reason.LAUNCH_FAILED]
    assert len(STATED) > 15
