"""docs/reasons.md is what the code says."""

from pathlib import Path

from deepseek_operator.api.reasons import ADVICE

PAGE = Path(__file__).parents[3] / "docs" / "reasons.md"


def test_the_page_lists_every_reason_in_the_words_of_the_code() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == [f"| `{reason}` | {meaning} | {action} |" for reason, (meaning, action) in ADVICE.items()]
