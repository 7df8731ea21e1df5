"""Whose addresses are whose, and how they are spoken to."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.base import Address, Known, ProbeTarget
from deepseek_operator.facts.engine import EngineTarget
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import Question, QuestionKind
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.replica.view import Finding, Replica, View
from deepseek_operator.reconcile.targets import encrypted, engine_targets, probe_targets, speaks_tls, unplaced
from tests.unit.reconcile import builders as b

DSD = b.rented_deployment()
R1 = b.name(DSD)
MACHINE, PLAIN, TLS = (Address(host, b.PORT) for host in ("54.0.0.1", "10.0.0.1", "10.0.0.2"))
MEMBERS = (
    Endpoints("r1-plain.8000", (PLAIN,), ("http",), "r1-plain"),
    Endpoints("r1-tls.8000", (TLS,), ("http",), "r1-tls"),
)
OVER_TLS = {"infra": "aws", "certificate_until": b.ago(-1)}


def replica(address: Address | None, **ledger: Any) -> Replica:
    kept = b.ledger(**ledger)
    return Replica(R1, True, View(b.NOW, b.facts(R1), kept, address), Finding(Phase.READY, Reason.READY, "", kept))


@pytest.mark.parametrize(
    ("says", "address", "ledger", "expected"),
    [
        ("a machine", MACHINE, OVER_TLS, {MACHINE, TLS}),
        ("a machine that has no address yet", None, OVER_TLS, {TLS}),
        ("a pod", MACHINE, {}, {TLS}),
        ("what is known of an address counts, not where it stands", TLS, {}, set()),
    ],
)
def test_what_answers_over_tls_and_what_belongs_to_nobody_known_and_stands_there(
    says: str, address: Address | None, ledger: dict[str, Any], expected: set[Address]
) -> None:
    found = encrypted(b.world(DSD, endpoints=MEMBERS), (replica(address, **ledger),))
    assert found == expected, says


NOWHERE_YET = {"infra": None, "certificate_until": b.ago(-1)}
FRONT = Endpoints("r1-proxy", (Address("10.88.1.1", 8080),), ("http",))


@pytest.mark.parametrize(
    ("says", "ledger", "known", "expected"),
    [
        ("a machine", OVER_TLS, {}, True),
        ("a pod", {}, {"proxies": (b.proxy_pod(),)}, False),
        ("a launch that may rent, without a proxy", NOWHERE_YET, {}, False),
        ("a launch that may rent, with a pod of a proxy", NOWHERE_YET, {"proxies": (b.proxy_pod(),)}, True),
        ("a launch that may rent, led to by a proxy", NOWHERE_YET, {"endpoints": (FRONT,)}, True),
        (
            "pods of a launch that might have rented",
            {**NOWHERE_YET, "infra": "kubernetes"},
            {"proxies": (b.proxy_pod(),)},
            False,
        ),
        ("a launch that cannot rent", {"infra": None}, {"proxies": (b.proxy_pod(),)}, False),
    ],
)
def test_tls_is_spoken_where_a_replica_answers_over_it_or_may(
    says: str, ledger: dict[str, Any], known: dict[str, Any], expected: bool
) -> None:
    assert speaks_tls(b.world(DSD, **known), (replica(None, **ledger),)) is expected, says


@pytest.mark.parametrize(("launched_on", "asked"), [(9000, 9000), (None, b.PORT)])
def test_a_machine_is_asked_for_on_the_port_of_its_launch_and_else_on_that_of_the_plan(
    launched_on: int | None, asked: int
) -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", port=launched_on)})
    known = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")))
    decision = decide(b.world(of, known), b.planned(of))
    assert Question(QuestionKind.ENDPOINT, str(R1), asked) in decision.asks


@pytest.mark.parametrize(
    ("says", "probes", "known", "asked"),
    [
        ("silent where the ledger says", b.silent(MACHINE), {}, True),
        ("silent where SkyPilot says", b.silent(MACHINE), {"endpoint": Known(MACHINE, b.NOW)}, False),
        ("it answers", b.answering(MACHINE), {}, False),
        ("not asked yet", {}, {}, False),
    ],
)
def test_a_machine_that_is_silent_may_answer_elsewhere(
    says: str, probes: Any, known: dict[str, Any], *, asked: bool
) -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", address=str(MACHINE))})
    facts = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), **known)
    decision = decide(b.world(of, facts, probes=probes), b.planned(of))
    assert (Question(QuestionKind.ENDPOINT, str(R1), b.PORT) in decision.asks) is asked, says


def test_a_machine_is_asked_for_again_until_skypilot_knows_where_it_answers() -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws")})
    known = b.facts(R1, skypilot=b.seen(b.row(R1, cloud="AWS")), endpoint=Known(None, b.NOW))
    assert Question(QuestionKind.ENDPOINT, str(R1), b.PORT) in decide(b.world(of, known), b.planned(of)).asks


@pytest.mark.parametrize(("teardown_at", "asked"), [(None, True), (b.ago(9), False)])
def test_without_a_record_a_machine_is_asked_after_unless_it_was_given_back(
    teardown_at: datetime | None, *, asked: bool
) -> None:
    of = b.remembering(DSD, {R1: b.ledger(infra="aws", address=str(MACHINE), teardown_at=teardown_at)})
    done = Known(Outcome("req-3", RequestKind.DOWN, b.NOW, found=True), b.NOW)
    known = b.facts(R1, outcome=done) if teardown_at else b.facts(R1)
    decision = decide(b.world(of, known), b.planned(of))
    assert (Question(QuestionKind.HISTORY, str(R1)) in decision.asks) is asked


@pytest.mark.parametrize(
    ("engine", "known"), [("SGLang", EngineName.SGLANG), ("Auto", None), ("OfAnotherVersion", None), (None, None)]
)
def test_an_engine_is_read_where_its_name_is_known(engine: str | None, known: EngineName | None) -> None:
    found = engine_targets((replica(PLAIN, engine=engine),), {PLAIN: ProbeTarget()})
    assert found == ({PLAIN: EngineTarget(known)} if known is not None else {})


def test_the_service_of_engines_that_cannot_be_asked_is_asked_as_the_plan_says() -> None:
    plan = b.planned(DSD)
    other = replace(plan, health_path="/ready")
    for known, path in ((other, "/ready"), (None, "/health")):
        found = probe_targets(b.world(DSD), (replica(MACHINE, **OVER_TLS),), known)
        assert found == {b.SERVICE: ProbeTarget(path, keep_alive=False)}


class TestAnAddressThatBelongsToNoReplica:
    """A published address may be that of a rented replica of which nobody knows yet where it answers."""

    OF = b.rented_deployment("aws")
    NAME = b.name(OF)
    ROW = b.row(NAME, "INIT", cloud="AWS")

    def test_stays_while_a_row_may_be_its_machine(self) -> None:
        assert unplaced(View(b.NOW, b.facts(self.NAME, skypilot=b.seen(self.ROW)), b.ledger()))

    def test_is_not_that_of_a_launch_under_way_which_came_after_it(self) -> None:
        under_way = b.seen(self.ROW, b.request(self.NAME))
        assert not unplaced(View(b.NOW, b.facts(self.NAME, skypilot=under_way), b.ledger()))
