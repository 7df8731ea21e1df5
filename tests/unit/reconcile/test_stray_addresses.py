"""Whether the Service goes on leading to an address of which nobody can say any more whose it is."""

from typing import Any

import pytest

from deepseek_operator.api.status import Ledger, Phase
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED
from deepseek_operator.reconcile.actions import UnpublishEndpoints
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import decided


class TestAnAddressThatNobodyCanPlace:
    """The Service leads to an address, and the status that said whose it is was lost."""

    STRAY = Address("54.0.0.1", 8000)
    OF = b.deployment()
    NAME = b.name(OF)

    def kept(self, known: Any, ledger: Ledger | None = None, *, suspend: bool = False, **fields: Any) -> bool:
        of = b.deployment(suspend=suspend)
        of = b.remembering(of, {self.NAME: ledger}) if ledger is not None else of
        world = b.world(of, known, endpoints=(b.endpoints(self.STRAY),), **fields)
        published = [action for action in decided(world).publish if isinstance(action, UnpublishEndpoints)]
        return published == []

    def row(self, cloud: str) -> Any:
        return b.seen(b.row(self.NAME, cloud=cloud))

    def test_stays_while_skypilot_has_not_been_asked(self) -> None:
        assert self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), skypilot=NOT_ASKED)

    def test_goes_where_only_a_replica_that_goes_could_answer_there(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), skypilot=NOT_ASKED, suspend=True)

    def test_stays_while_skypilot_is_away_and_something_was_launched(self) -> None:
        ledger = b.ledger(infra=None)
        assert self.kept(b.facts(self.NAME, skypilot=b.AWAY), ledger, skypilot=b.AWAY)

    def test_goes_while_skypilot_is_away_and_nothing_was_launched(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=b.AWAY), Ledger(), skypilot=b.AWAY)

    def test_stays_until_a_rented_machine_has_said_where_it_is(self) -> None:
        assert self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), job=b.job(JobState.ACTIVE)))

    def test_goes_when_that_is_known(self) -> None:
        elsewhere = Known(Address("54.0.0.2", 8000), b.NOW)
        known = b.facts(self.NAME, skypilot=self.row("AWS"), endpoint=elsewhere, job=b.job(JobState.ACTIVE))
        assert not self.kept(known)

    def test_goes_where_the_status_says_where_the_machine_is(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.2:8000")
        assert not self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), job=b.job(JobState.ACTIVE)), ledger)

    def test_goes_where_the_replica_has_pods(self) -> None:
        assert not self.kept(b.up(self.NAME))

    def test_goes_where_the_replica_runs_on_kubernetes(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), b.ledger(), skypilot=NOT_ASKED)

    @pytest.mark.parametrize(
        ("infra", "published", "stays"), [(None, True, True), (None, False, False), ("kubernetes", True, False)]
    )
    def test_keeps_an_older_replica_to_which_it_may_belong(
        self, infra: str | None, published: bool, stays: bool
    ) -> None:
        old = b.older(self.OF)
        of = b.remembering(self.OF, {old: b.ledger(infra=infra)})
        slices = (b.endpoints(self.STRAY),) if published else ()
        world = b.world(of, b.facts(old, skypilot=NOT_ASKED), skypilot=NOT_ASKED, endpoints=slices)
        phases = {replica.name: replica.finding.phase for replica in decided(world).replicas}
        assert (phases[old] is not Phase.TERMINATING) is stays

    def test_goes_where_skypilot_says_that_there_is_none(self) -> None:
        nowhere = Known(None, b.NOW)
        assert not self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), endpoint=nowhere, job=b.job(JobState.ACTIVE)))

    def test_is_none_where_it_belongs_to_a_replica_that_is_known(self) -> None:
        of, at = b.deployment(replicas=2), Address(b.host(), b.PORT)
        current, old = b.name(of), b.older(of, 1)
        ledgers = {current: b.ledger(ready_since=b.ago(60)), old: b.ledger(infra=None)}
        world = b.world(
            b.remembering(of, ledgers), b.up(current), b.facts(old, skypilot=NOT_ASKED),
            probes=b.answering(at), endpoints=(b.endpoints(at),),
        )  # fmt: skip
        assert [one.name for one in decided(world).replicas if one.finding.phase is Phase.TERMINATING] == [old]

    def test_goes_where_no_cluster_is_left(self) -> None:
        assert not self.kept(b.facts(self.NAME))
