"""``--regenerate-expected``: write the expected-output files again instead of comparing with them."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate-expected", action="store_true", help="write the expected-output files again")
