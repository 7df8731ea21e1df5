"""Whose an address is that two replicas have: the machine of one of them is gone, and SkyPilot has not noticed yet."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Address, Known, Probe
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.actions import PublishEndpoints
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.replica.look import without_lost_addresses
from deepseek_operator.reconcile.replica.view import Health, View
from tests.unit.reconcile import builders as b

DSD = b.rented_deployment(replicas=2)
ONE, TWO, THREE = b.name(DSD), b.name(DSD, 1), b.name(DSD, 2)
AT, ELSEWHERE = Address("54.0.0.1", b.PORT), Address("54.0.0.2", b.PORT)


def view(address: Address | None, ago: float | None) -> View:
    ledger = Ledger(launched_at=b.ago(ago) if ago is not None else None)
    return View(b.NOW, b.facts(ONE), ledger, address, Health.ANSWERS, published=True)


@pytest.mark.parametrize(
    ("one", "two", "three", "owners"),
    [
        ((AT, 60), (ELSEWHERE, 60), (None, 60), {ONE, TWO}),
        ((AT, 60), (AT, 5), (ELSEWHERE, 9), {TWO, THREE}),
        ((AT, 5), (AT, 60), (None, 60), {ONE}),
        ((AT, 60), (AT, 5), (AT, 30), {TWO}),
        ((AT, 5), (AT, 60), (AT, 30), {ONE}),
        ((AT, None), (AT, 5), (ELSEWHERE, 9), {TWO, THREE}),
        ((AT, 5), (AT, None), (ELSEWHERE, 9), {ONE, THREE}),
        ((AT, None), (AT, None), (None, None), {ONE}),
        ((AT, 5), (AT, 5), (None, None), {ONE}),
        ((AT, 5), (None, 60), (None, 5), {ONE}),
    ],
)
def test_an_address_is_that_of_the_replica_launched_last(one: Any, two: Any, three: Any, owners: Any) -> None:
    found = without_lost_addresses({ONE: view(*one), TWO: view(*two), THREE: view(*three)})
    assert {name for name, seen in found.items() if seen.address is not None} == owners
    had = {ONE: one[0], TWO: two[0], THREE: three[0]}
    lost = {name for name, address in had.items() if address is not None} - owners
    assert {name for name, seen in found.items() if seen.detail} == lost
    assert all((found[name].health, found[name].published) == (Health.SILENT, False) for name in lost)


def rented(name: Any, ledger_ago: float) -> Ledger:
    return b.ledger(infra="aws", launched_at=b.ago(ledger_ago), certificate_until=b.ago(-9_000_000))


def test_a_successor_at_the_address_of_a_lost_machine_serves_as_soon_as_it_answers() -> None:
    up = {
        name: b.facts(name, skypilot=b.seen(b.row(name, cloud="AWS")), endpoint=Known(AT, b.NOW)) for name in (ONE, TWO)
    }
    ledgers = {ONE: rented(ONE, 3600), TWO: rented(TWO, 60)}
    world: World = b.world(
        b.remembering(DSD, ledgers),
        *up.values(),
        secrets=b.API_KEY_EXISTS,
        clouds=b.CLOUDS_ENABLED,
        authority=b.AUTHORITY,
        probes={AT: Probe(True, b.NOW)},
    )
    decision = decide(world, b.planned(DSD))
    encryption = decision.targets[AT].encryption
    assert encryption is not None
    assert encryption.server_name.startswith(str(TWO)), "the certificate there is that of the second"
    assert {replica.name: replica.ready for replica in decision.replicas} == {ONE: False, TWO: True}
    published = [action for action in decision.publish if isinstance(action, PublishEndpoints)]
    assert [action.addresses for action in published] == [(AT,)]
    assert decide(replace(world, probes={}), b.planned(DSD)).targets[AT].encryption == encryption
