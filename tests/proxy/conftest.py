"""HAProxy of the machine; installed where it is missing."""

import pytest

from tests.cluster.packages import ensure


@pytest.fixture(scope="session", autouse=True)
def haproxy_installed() -> None:
    ensure({"haproxy": "haproxy"})
