"""What the rules of one replica read: where it listens, whether it exists, whether the Service should lead to it."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.status import Ledger
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.base import Address, Known, Unknown
from deepseek_operator.facts.kubernetes import LaunchedService
from deepseek_operator.facts.skypilot import Outcome, RequestKind
from deepseek_operator.facts.world import NOT_ASKED, Seen
from deepseek_operator.reconcile.replica.look import address_of, look
from deepseek_operator.reconcile.replica.view import Health, View
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
POD = b.pod(R1)
AWS = b.row(R1, cloud="AWS")
RENTED = b.ledger(infra="aws", address="3.4.5.6:8000")
GOING = RENTED.model_copy(update={"teardown_at": b.ago(5)})
THERE = Address("3.4.5.6", 8000)
LEFT = b.ledger(address="3.4.5.6:8000")
GONE = Known(b.ago(9999), b.NOW)
LAUNCHED = Known(Outcome("r", RequestKind.LAUNCH, b.ago(5)), b.NOW)
LISTED = {"skypilot": b.seen(AWS)}


def down(**fields: Any) -> Known[Outcome | None]:
    return Known(Outcome("r", RequestKind.DOWN, b.ago(5), **fields), b.NOW)


def last_seen(*things: Any) -> dict[str, Any]:
    """SkyPilot is away now and has shown these before."""
    return {"skypilot": b.AWAY, "last_seen": b.seen(*things).value}


@pytest.mark.parametrize(
    ("says", "known", "ledger", "expected"),
    [
        ("the head pod, on the port of its launch", {"pods": (POD,)}, b.ledger(), Address(b.host(), 8000)),
        ("not a worker", {"pods": (b.pod(R1, head=False),)}, b.ledger(), None),
        ("not a pod that does not run", {"pods": (b.pod(R1, phase="Pending"),)}, b.ledger(), None),
        ("not a pod without an address", {"pods": (replace(POD, ip=None),)}, b.ledger(), None),
        ("with pods, never a machine", {"pods": (b.pod(R1, head=False),)}, RENTED, None),
        ("the machine that was seen last", {}, RENTED, THERE),
        ("the machine that SkyPilot names", {"endpoint": Known(Address("9.9.9.9", 1), b.NOW)}, RENTED, ("9.9.9.9", 1)),
        ("the old one while it names none", {"endpoint": Known(None, b.NOW)}, RENTED, THERE),
        ("the old one while nobody can be asked", {"endpoint": Unknown("time-out", b.NOW)}, RENTED, THERE),
        ("none of what never was anywhere", {}, b.ledger(infra=None, address="3.4.5.6:8000"), None),
        ("none of pods that are gone", {}, b.ledger(address="3.4.5.6:8000"), None),
        ("none of pods that are gone, whatever the ledger says", {"skypilot": b.seen(b.row(R1))}, RENTED, None),
        ("a machine where the status was lost", {**LISTED, "endpoint": Known(THERE, b.NOW)}, Ledger(), THERE),
        ("the ledger's place where a row has none", {"skypilot": b.seen(b.row(R1, cloud=""))}, RENTED, THERE),
        ("none of a row without a place", {"skypilot": b.seen(b.row(R1, cloud=""))}, LEFT, None),
        ("the machine while nobody knows how its last request ended", {"outcome": b.AWAY}, RENTED, THERE),
        ("the machine after a launch that succeeded", {"outcome": LAUNCHED}, RENTED, THERE),
        ("no machine that we terminated", {"outcome": down()}, RENTED, None),
        ("the machine after a teardown that failed", {"outcome": b.failed_teardown()}, RENTED, THERE),
        ("the machine after a teardown that found nothing", {"outcome": down(found=False)}, RENTED, THERE),
        ("the machine after a launch that failed", {"outcome": b.failed_launch()}, RENTED, THERE),
        ("no machine that is being terminated", {}, GOING, None),
        ("the one that is still listed", LISTED, GOING, THERE),
        ("no machine that was terminated by hand", {"terminated": Known(b.NOW, b.NOW)}, RENTED, None),
        ("the machine that was not", {"terminated": Known(None, b.NOW)}, RENTED, THERE),
    ],
)  # fmt: skip
def test_where_an_engine_listens(says: str, known: dict[str, Any], ledger: Ledger, expected: Any) -> None:
    wanted = Address(*expected) if isinstance(expected, tuple) else expected
    assert address_of(b.facts(R1, **known), ledger, ledger.port) == wanted, says


def test_a_forgotten_port_is_the_one_to_which_the_service_leads() -> None:
    published = frozenset({Address(b.host(), 9000), Address("10.0.0.1", 7000)})
    known, lost = b.facts(R1, pods=(POD,)), b.ledger(port=None)
    assert address_of(known, lost, 8000, published) == Address(b.host(), 9000)
    assert address_of(known, lost, 8000, frozenset()) == Address(b.host(), 8000)
    assert address_of(known, lost, None) is None
    assert address_of(known, b.ledger(), 8000, published) == Address(b.host(), 8000)


@pytest.mark.parametrize(
    ("says", "known", "ledger", "expected"),
    [
        ("nothing was launched", {"skypilot": b.AWAY}, Ledger(), False),
        ("launched, and nobody can be asked", {"skypilot": b.AWAY}, b.ledger(), True),
        ("given back, and nobody can be asked", {"skypilot": b.AWAY}, b.ledger(teardown_at=b.NOW), False),
        ("seen before", last_seen(b.row(R1)), Ledger(), True),
        ("asked for before", last_seen(b.request(R1)), Ledger(), True),
        ("SkyPilot knows nothing of it", {}, b.ledger(), False),
        ("SkyPilot lists it", {"skypilot": b.seen(b.row(R1))}, Ledger(), True),
        ("a request is under way", {"skypilot": b.seen(b.request(R1))}, Ledger(), True),
        ("pods", {"pods": (POD,)}, Ledger(), True),
        ("a Service", {"services": (LaunchedService("s", str(R1), "c"),)}, Ledger(), True),
        ("a request may still be heard", {}, b.ledger(unanswered="launch"), True),
    ],
)
def test_a_replica_exists_while_anything_of_it_may_be_there(
    says: str, known: dict[str, Any], ledger: Ledger, expected: bool
) -> None:
    assert View(b.NOW, b.facts(R1, **known), ledger).exists is expected, says


@pytest.mark.parametrize(
    ("says", "known", "ledger", "expected"),
    [
        ("it exists", {"skypilot": b.seen(AWS)}, RENTED, True),
        ("nobody has said yet whether it was terminated", {}, GOING, True),
        ("nobody has said yet how its teardown ended", {"outcome": NOT_ASKED, "terminated": GONE}, GOING, True),
        ("it was torn down", {"outcome": down()}, GOING, False),
        ("nobody knows what became of it", {"terminated": Known(None, b.NOW)}, GOING, False),
        ("its pods are gone", {}, b.ledger(teardown_at=b.ago(5)), False),
    ],
)
def test_a_replica_takes_room_until_it_is_known_what_became_of_its_machines(
    says: str, known: dict[str, Any], ledger: Ledger, expected: bool
) -> None:
    assert View(b.NOW, b.facts(R1, **known), ledger).takes_room is expected, says


UP = {"skypilot": b.seen(b.row(R1))}


@pytest.mark.parametrize(
    ("says", "known", "ledger", "health", "published", "expected"),
    [
        ("it answers", UP, b.ledger(), Health.ANSWERS, False, True),
        ("it is silent", UP, b.ledger(), Health.SILENT, True, False),
        ("not asked yet, and published", UP, b.ledger(), Health.UNKNOWN, True, True),
        ("not asked yet, and not published", UP, b.ledger(), Health.UNKNOWN, False, False),
        ("torn down", {"skypilot": b.seen(b.request(R1, "down"))}, b.ledger(), Health.ANSWERS, True, False),
        ("a teardown may be heard", UP, b.ledger(unanswered="down"), Health.ANSWERS, True, False),
        ("another request may be heard", UP, b.ledger(unanswered="launch"), Health.ANSWERS, True, True),
        ("asked to go, then silence", {"skypilot": b.AWAY}, b.ledger(teardown_at=b.NOW), Health.ANSWERS, True, False),
        ("asked to go, and gone", {}, b.ledger(teardown_at=b.NOW), Health.ANSWERS, True, False),
        ("asked to go in vain", UP, b.ledger(teardown_at=b.NOW), Health.ANSWERS, True, True),
        ("silence", {"skypilot": b.AWAY}, b.ledger(), Health.ANSWERS, True, True),
        ("launching", {"skypilot": b.seen(b.request(R1))}, b.ledger(), Health.ANSWERS, False, False),
        ("starting", {"skypilot": b.seen(b.request(R1, "exec"))}, b.ledger(), Health.ANSWERS, False, False),
        ("again", {"skypilot": b.seen(b.request(R1))}, b.ledger(ready_since=b.NOW), Health.ANSWERS, False, True),
    ],
)
def test_a_replica_serves_where_its_answers_can_be_believed(
    says: str, known: dict[str, Any], ledger: Ledger, health: Health, published: bool, expected: bool
) -> None:
    view = View(b.NOW, b.facts(R1, **known), ledger, health=health, published=published)
    assert view.serving is expected, says


@pytest.mark.parametrize(
    ("known", "ledger", "infra", "rented"),
    [
        ({}, Ledger(), None, False),
        ({}, b.ledger(infra="aws"), "aws", True),
        ({"pods": (POD,)}, Ledger(), "kubernetes", False),
        ({"skypilot": b.seen(AWS)}, b.ledger(), "aws", True),
        ({"skypilot": b.seen(b.row(R1, cloud=""))}, b.ledger(infra="gcp"), "gcp", True),
    ],
)
def test_where_a_replica_runs_is_seen_first_and_remembered_else(
    known: dict[str, Any], ledger: Ledger, infra: str | None, rented: bool
) -> None:
    view = View(b.NOW, b.facts(R1, **known), ledger)
    assert (view.infra, view.rented) == (infra, rented)


@pytest.mark.parametrize(
    ("says", "ledger", "expected"),
    [
        ("it has a certificate", b.ledger(infra="aws", certificate_until=b.ago(-1)), True),
        ("an older operator launched it", b.ledger(infra="aws"), False),
        ("it is not remembered", Ledger(infra="aws"), True),
        ("it runs in the cluster", b.ledger(certificate_until=b.ago(-1)), False),
    ],
)
def test_what_answers_over_tls(says: str, ledger: Ledger, expected: bool) -> None:
    assert View(b.NOW, b.facts(R1), ledger).encrypted is expected, says


def test_requests_and_clusters_are_not_read_from_an_old_snapshot() -> None:
    view = View(b.NOW, b.facts(R1, skypilot=b.AWAY, last_seen=Seen(b.row(R1), (b.request(R1),))))
    assert (view.cluster, view.requests, view.in_flight(RequestKind.LAUNCH)) == (None, (), None)


class TestTheViewOfOneReplica:
    KNOWN = b.facts(R1, pods=(POD,))
    AT = Address(b.host(), b.PORT)

    def test_uses_the_port_of_the_plan_only_where_it_runs_the_current_revision(self) -> None:
        world, plan, lost = b.world(DSD, self.KNOWN), b.planned(DSD), Ledger()
        assert look(world, self.KNOWN, lost, plan, current=True).address == self.AT
        assert look(world, self.KNOWN, lost, plan, current=False).address is None
        assert look(world, self.KNOWN, lost, None, current=True).address is None
        assert look(world, self.KNOWN, b.ledger(port=7000), plan, current=True).address == Address(b.host(), 7000)

    def test_has_a_plan_only_where_it_runs_the_current_revision(self) -> None:
        world, plan = b.world(DSD, self.KNOWN), b.planned(DSD)
        assert look(world, self.KNOWN, b.ledger(), plan, current=True).plan is plan
        assert look(world, self.KNOWN, b.ledger(), plan, current=False).plan is None

    @pytest.mark.parametrize(
        ("probes", "health", "detail"),
        [
            ({}, Health.UNKNOWN, ""),
            (b.answering(AT), Health.ANSWERS, ""),
            (b.silent(AT), Health.SILENT, "connection refused"),
        ],
    )
    def test_shows_what_the_last_probe_said(self, probes: Any, health: Health, detail: str) -> None:
        view = look(b.world(DSD, self.KNOWN, probes=probes), self.KNOWN, b.ledger(), None, current=True)
        assert (view.health, view.detail, view.running) == (health, detail, None)

    def test_is_silent_where_nothing_can_be_asked(self) -> None:
        known = b.facts(R1)
        assert look(b.world(DSD, known), known, b.ledger(), None, current=True).health is Health.SILENT

    def test_is_published_where_the_service_leads_to_its_own_address(self) -> None:
        for address, expected in ((self.AT, True), (Address("10.0.0.9", 8000), False)):
            world = b.world(DSD, self.KNOWN, endpoints=(b.endpoints(address),))
            assert look(world, self.KNOWN, b.ledger(), None, current=True).published is expected

    @pytest.mark.parametrize(
        ("text", "expected"), [(str(R1), True), (f"x,{R1}", True), (f"x, {R1} ,", True), ("x", False), ("true", False)]
    )
    def test_is_abandoned_where_its_user_names_it(self, text: str, expected: bool) -> None:
        metadata = DSD.metadata.model_copy(update={"annotations": {ANNOTATION_ABANDON: text}})
        world = b.world(DSD.model_copy(update={"metadata": metadata}), self.KNOWN)
        assert look(world, self.KNOWN, b.ledger(), None, current=True).abandoned is expected
