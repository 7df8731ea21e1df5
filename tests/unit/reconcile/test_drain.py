"""A replica that serves and is no longer wanted: it leaves the Service, ends its requests, and only then goes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deepseek_operator.facts.base import Address, Probe
from deepseek_operator.facts.kubernetes import PublishedService
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.actions import PublishEndpoints, TearDown
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import AT, actions, changed, conditions, settled


class TestDrain:
    """A replica that serves and is no longer wanted leaves the Service first."""

    OF = b.deployment(replicas=2)
    KEPT, SURPLUS = b.name(OF, 0), b.name(OF, 1)
    LEFT = Address(b.host(1), b.PORT)

    def leaving(self, **probe: Any) -> World:
        """The surplus replica, 5 seconds after it has left the Service."""
        world = changed(settled(b.serving(self.OF, self.KEPT, self.SURPLUS)), replicas=1)
        decision, status = b.step(world)
        assert decision.publish == (PublishEndpoints("r1-8000", (AT,), ("http",)),)
        assert decision.actions == ()
        unpublished = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            endpoints=(b.endpoints(AT),),
        )
        _, status = b.step(unpublished)
        probes = {**world.probes, self.LEFT: Probe(True, b.NOW, **probe)}
        of = unpublished.deployment.model_copy(update={"status": status})
        return replace(unpublished, deployment=of, probes=probes, now=b.NOW + timedelta(seconds=5))

    def test_it_waits_while_the_slice_still_leads_to_it(self) -> None:
        world = changed(settled(b.serving(self.OF, self.KEPT, self.SURPLUS)), replicas=1)
        late = replace(world, now=b.NOW + timedelta(hours=1))
        _, status = b.step(late)
        refused = replace(late, deployment=late.deployment.model_copy(update={"status": status}))
        assert b.step(replace(refused, now=b.NOW + timedelta(hours=2)))[0].actions == ()

    def test_it_waits_for_its_running_requests(self) -> None:
        assert b.step(self.leaving(running=2))[0].actions == ()

    def test_it_goes_when_they_have_ended(self) -> None:
        assert actions(b.step(self.leaving(running=0))[0]) == (TearDown(self.SURPLUS),)

    def test_it_goes_when_their_time_is_up(self) -> None:
        world = self.leaving(running=2)
        seconds = world.deployment.status.instances[1].ledger.drain_seconds
        assert actions(b.step(replace(world, now=b.NOW + timedelta(seconds=seconds)))[0]) == (TearDown(self.SURPLUS),)

    def test_an_engine_that_does_not_say_gets_ten_seconds(self) -> None:
        world = self.leaving()
        assert b.step(world)[0].actions == ()
        assert actions(b.step(replace(world, now=b.NOW + timedelta(seconds=10)))[0]) == (TearDown(self.SURPLUS),)

    def test_a_clock_that_was_set_back_does_not_make_it_wait_for_hours(self) -> None:
        world = replace(self.leaving(), now=b.NOW - timedelta(hours=1))
        decision, status = b.step(world)
        assert decision.actions == ()
        later = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            now=world.now + timedelta(seconds=10),
        )
        assert actions(b.step(later)[0]) == (TearDown(self.SURPLUS),)

    def test_its_address_stays_in_the_status_and_the_deployment_ready(self) -> None:
        _, status = b.step(self.leaving(running=2))
        assert [i.address for i in status.instances] == [str(AT), str(self.LEFT)]
        assert conditions(status)["Ready"] == ("True", "Ready")

    def test_after_a_failed_teardown_it_does_not_drain_again(self) -> None:
        world = self.leaving(running=0)
        decision, status = b.step(world)
        assert actions(decision) == (TearDown(self.SURPLUS),)
        known = replace(world.replicas[self.SURPLUS], outcome=b.failed_teardown())
        failed = replace(
            world,
            deployment=world.deployment.model_copy(update={"status": status}),
            replicas={**world.replicas, self.SURPLUS: known},
        )
        decision, status = b.step(failed)
        surplus = next(i for i in status.instances if i.name == str(self.SURPLUS))
        assert (decision.actions, surplus.reason, surplus.attempts) == ((), "TeardownFailed", 1)
        later = replace(
            failed,
            deployment=failed.deployment.model_copy(update={"status": status}),
            now=failed.now + timedelta(seconds=11),
        )
        assert actions(b.step(later)[0]) == (TearDown(self.SURPLUS),)

    def test_it_is_torn_down_although_somebody_else_has_taken_the_name_of_the_service(self) -> None:
        world = changed(settled(b.serving(self.OF, self.KEPT, self.SURPLUS)), replicas=1)
        taken = replace(world, service=PublishedService(foreign=True), service_conflict=True)
        decision, status = b.step(taken)
        assert decision.publish[0] == PublishEndpoints("r1-8000", (AT,), ("http",))
        out = replace(
            taken, deployment=taken.deployment.model_copy(update={"status": status}), endpoints=(b.endpoints(AT),)
        )
        _, status = b.step(out)
        later = replace(
            out,
            deployment=out.deployment.model_copy(update={"status": status}),
            now=out.now + timedelta(seconds=10),
        )
        assert actions(b.step(later)[0]) == (TearDown(self.SURPLUS),)
