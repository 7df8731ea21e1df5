"""What the operator's identity asked for over the whole run."""

import pytest

from tests.integration.stage import Stage
from tests.system.audit import Audit


@pytest.mark.last
def test_the_operator_was_never_refused(stage: Stage, audit: Audit) -> None:
    entries = audit.entries()
    assert entries, "the operator asked nothing"
    refused = [f"{e['verb']} {e['requestURI']}" for e in entries if e["responseStatus"].get("code") in (401, 403)]
    assert refused == []


@pytest.mark.last
def test_nothing_but_what_it_owns_was_written(stage: Stage, audit: Audit) -> None:
    written = {
        e["objectRef"]["resource"]
        for e in audit.entries()
        if e["verb"] not in ("get", "list", "watch") and "objectRef" in e
    }
    owned = {"deepseekdeployments", "services", "endpointslices", "serviceaccounts", "events", "pods", "leases"}
    assert written <= owned
