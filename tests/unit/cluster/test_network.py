"""The link of the cluster to this machine is taken away, whoever is quicker."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.cluster.api import ClusterError
from tests.cluster.local import network

LAYOUT: Any = SimpleNamespace(veth="dsd0")


@pytest.mark.parametrize("left", [False, True], ids=["went meanwhile", "is still there"])
def test_a_link_that_goes_while_it_is_removed_is_no_failure(monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    found = iter(['[{"ifname": "dsd0"}]', '[{"ifname": "dsd0"}]' if left else "[]"])

    def run(command: list[str]) -> str:
        if "delete" in command:
            raise ClusterError('Cannot find device "dsd0"')
        return next(found)

    monkeypatch.setattr(network, "run", run)
    if left:
        with pytest.raises(ClusterError):
            network.disconnect(LAYOUT)
    else:
        network.disconnect(LAYOUT)
    assert next(found, None) is None, "it was looked at again"
