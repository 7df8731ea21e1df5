"""docs/reasons.md is printed from the table of the Reasons, so that it cannot go stale.

``pytest tests/unit/api --regenerate-expected`` prints it again.
"""

from pathlib import Path

import pytest

from deepseek_operator.api.reasons import ADVICE, Reason

PAGE = Path(__file__).parents[3] / "docs" / "reasons.md"
HEAD = """# Reasons

Every Reason that `kubectl get dsd` can show, what it means, and what to do. Printed from `api/reasons.py`
by `tests/unit/api/test_reasons.py`; do not edit it.

| Reason | meaning | what to do |
|---|---|---|
"""


def test_the_page_lists_every_reason_in_the_words_of_the_code(request: pytest.FixtureRequest) -> None:
    page = HEAD + "".join(f"| `{reason}` | {meaning} | {action} |\n" for reason, (meaning, action) in ADVICE.items())
    if request.config.getoption("--regenerate-expected", default=False):
        PAGE.write_text(page, encoding="utf-8")
    assert page == PAGE.read_text(encoding="utf-8"), "pytest tests/unit/api --regenerate-expected"


def test_every_reason_has_a_meaning_and_something_to_do() -> None:
    assert set(ADVICE) == set(Reason)
    assert all(text.endswith(".") for texts in ADVICE.values() for text in texts)
