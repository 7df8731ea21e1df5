"""A store with one deployment, and the keys that it wakes."""

import pytest

from deepseek_operator.facts.store import Store
from tests.unit.facts.stored import Woken, body


@pytest.fixture
def woken() -> Woken:
    """Return the keys that were woken."""
    return Woken()


@pytest.fixture
def store(woken: Woken) -> Store:
    """Return a store that knows one deployment."""
    store = Store(woken.append)
    store.put_deployment(body())
    woken.clear()
    return store
