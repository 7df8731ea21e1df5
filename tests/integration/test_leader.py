"""Several operators for the same namespace: one acts, and another one takes over when that dies."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from lightkube import Client
from lightkube.resources.coordination_v1 import Lease

from tests.integration.conftest import ACCOUNT, SYSTEM
from tests.integration.stage import Stage, until
from tests.system.process import OperatorProcess

HAND_OVER_S = 20.0
LEASE_S = 15.0


@pytest.fixture
def two_operators(alone: Stage) -> Iterator[dict[str, OperatorProcess]]:
    """Two operators that compete for the release's Lease, in place of the one that acts without."""
    alone.operator.end()
    names = ("dsd-int-first", "dsd-int-second")
    flags = {name: (f"--lease={SYSTEM}/{ACCOUNT}", f"--instance={name}") for name in names}
    found = {name: replace(alone.operator, flags=flags[name], process=None) for name in names}
    try:
        for operator in found.values():
            operator.start()
        yield found
    finally:
        for operator in found.values():
            operator.end()
        alone.client.delete(Lease, ACCOUNT, namespace=SYSTEM)
        alone.operator.start()


def leader(client: Client) -> str:
    """Holder of the Lease; empty if nobody has it."""
    leases: list[Any] = list(client.list(Lease, namespace=SYSTEM))
    found = [lease for lease in leases if lease.metadata.name == ACCOUNT]
    return str(found[0].spec.holderIdentity or "") if found else ""


def test_killing_the_leader_in_mid_launch_hands_over_without_a_second_launch(
    alone: Stage, two_operators: dict[str, OperatorProcess]
) -> None:
    first = until(lambda: leader(alone.client), "somebody leads")
    alone.skypilot.held.add("handed-over")
    alone.apply("handed-over")
    until(lambda: alone.skypilot.of("handed-over"), "a launch is under way")
    two_operators[first].kill()
    killed = time.monotonic()
    alone.skypilot.held.clear()

    until(lambda: leader(alone.client) not in ("", first), "another one leads", HAND_OVER_S)
    led = time.monotonic() - killed
    alone.until_ready("handed-over")

    ready = time.monotonic() - killed
    print(f"the leader was killed in mid-launch; another one led after {led:.1f} s, ready after {ready:.1f} s")
    assert len(alone.skypilot.launches("handed-over")) == 1
    two_operators[first].start()  # it waits, and nothing is done twice
    alone.delete("handed-over")
    alone.until_gone("handed-over")


def test_a_leader_that_is_stopped_hands_over_at_once(alone: Stage, two_operators: dict[str, OperatorProcess]) -> None:
    first = until(lambda: leader(alone.client), "somebody leads")
    stopped = time.monotonic()
    two_operators[first].end()
    until(lambda: leader(alone.client) not in ("", first), "another one leads")
    print(f"the leader was stopped; another one led after {time.monotonic() - stopped:.1f} s")
    assert time.monotonic() - stopped < LEASE_S, "it released the Lease, instead of letting it expire"
