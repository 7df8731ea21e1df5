"""What the operator's identity asked for over the whole run."""

import pytest

from tests.cluster import Cluster
from tests.integration.conftest import ACCOUNT, ALONE, RELEASE, SHARED, SYSTEM
from tests.integration.stage import Stage
from tests.system.audit import Audit
from tests.system.identity import operator_objects
from tests.system.rights import compare, granted


@pytest.mark.last
def test_the_operator_was_never_refused(stage: Stage, audit: Audit) -> None:
    entries = audit.entries()
    assert entries, "the operator asked nothing"
    refused = [f"{e['verb']} {e['requestURI']}" for e in entries if e["responseStatus"].get("code") in (401, 403)]
    assert refused == []


@pytest.mark.last
def test_every_right_is_used_and_none_is_missing(stage: Stage, audit: Audit, cluster: Cluster) -> None:
    given = granted(operator_objects(cluster, RELEASE, SYSTEM, (SHARED, ALONE)), ACCOUNT)
    found = compare(given, audit.entries())
    assert [str(right) for right in found.denied] == []
    assert [str(right) for right in found.unused] == []


@pytest.mark.last
def test_nothing_but_what_it_owns_was_written(stage: Stage, audit: Audit) -> None:
    written = {
        e["objectRef"]["resource"]
        for e in audit.entries()
        if e["verb"] not in ("get", "list", "watch") and "objectRef" in e
    }
    owned = {"deepseekdeployments", "services", "endpointslices", "serviceaccounts", "events", "pods", "leases"}
    assert written <= owned
