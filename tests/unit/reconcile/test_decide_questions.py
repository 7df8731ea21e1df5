"""What a pass asks about Secrets and about rented machines, and when it does not ask."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind
from deepseek_operator.planning import Refused
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import asked, decided

SECRET: dict[str, Any] = {"endpoint": {"apiKeySecretRef": {"name": "key", "key": "token"}}}
REF = SecretKeyRef(name="key", key="token")


class TestSecretsAreRead:
    def test_not_while_everything_that_is_wanted_serves(self) -> None:
        assert asked(decided(b.serving(b.deployment(**SECRET)))) == []

    @pytest.mark.parametrize("off", [{"suspend": True}, {"deleting": True}, {"replicas": 0}])
    def test_not_when_nothing_is_wanted(self, off: dict[str, Any]) -> None:
        assert asked(decided(b.world(b.deployment(**SECRET, **off)))) == []

    def test_not_while_everything_is_given_back(self) -> None:
        of = b.deployment(**SECRET, deleting=True)
        name = b.name(of)
        assert asked(decided(b.world(of, b.facts(name, skypilot=b.seen(b.row(name)))))) == []

    def test_when_a_replica_is_silent(self) -> None:
        world = b.serving(b.deployment(**SECRET))
        silent = replace(world, probes=b.silent(Address(b.host(), b.PORT)))
        assert QuestionKind.SECRET in asked(decided(silent))

    def test_when_only_an_older_revision_serves(self) -> None:
        of = b.deployment(**SECRET)
        assert asked(decided(b.serving(of, b.older(of)))) == [QuestionKind.SECRET]

    @pytest.mark.parametrize(("answer", "again"), [("", False), ("Secret key does not exist", True)])
    def test_again_until_they_are_there(self, answer: str, again: bool) -> None:
        world = b.world(b.deployment(**SECRET), secrets={REF: Known(answer, b.NOW)})
        assert (asked(decided(world)) == [QuestionKind.SECRET]) is again


class TestARentedReplica:
    OF = b.deployment()
    NAME = b.name(OF)
    LEDGER = b.ledger(infra="aws")

    def questions(self, known: Any, ledger: Ledger = LEDGER) -> list[QuestionKind]:
        of = b.remembering(self.OF, {self.NAME: ledger})
        places = (QuestionKind.ENDPOINT, QuestionKind.HISTORY)
        return [kind for kind in asked(decided(b.world(of, known))) if kind in places]

    def test_is_asked_for_its_address_once_it_is_up(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        assert self.questions(known) == [QuestionKind.ENDPOINT]

    def test_is_not_asked_while_a_request_is_under_way(self) -> None:
        seen = b.seen(b.row(self.NAME, cloud="AWS"), b.request(self.NAME))
        assert self.questions(b.facts(self.NAME, skypilot=seen)) == []

    def test_is_not_asked_for_its_address_again_when_that_is_known(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        assert self.questions(known, b.ledger(infra="aws", address="54.0.0.1:8000")) == []

    def test_is_not_asked_for_its_address_where_its_port_is_not_known(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        of = b.remembering(self.OF, {self.NAME: b.ledger(infra="aws", port=None)})
        nothing_fits = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")
        assert QuestionKind.ENDPOINT not in asked(decided(b.world(of, known), nothing_fits))

    def test_without_a_record_is_asked_whether_it_was_terminated(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.1:8000", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME), ledger) == [QuestionKind.HISTORY]

    def test_is_not_asked_about_twice(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.1:8000", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME, terminated=Known(None, b.NOW)), ledger) == []

    def test_without_an_address_and_without_a_record_is_asked_whether_it_was_terminated(self) -> None:
        ledger = b.ledger(infra="aws", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME), ledger) == [QuestionKind.HISTORY]

    @pytest.mark.parametrize(
        ("state", "price", "known", "asks"),
        [
            ("UP", None, NOT_ASKED, True),
            ("INIT", None, NOT_ASKED, False),
            ("UP", "0.80", NOT_ASKED, False),
            ("UP", None, Known(None, b.NOW), False),
        ],
    )
    def test_is_asked_for_its_price_once_it_is_up(self, state: str, price: str | None, known: Any, asks: bool) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger(infra="aws", price=price)})
        listed = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, state, cloud="AWS")), price=known)
        assert (QuestionKind.PRICE in asked(decided(b.world(of, listed)))) is asks

    @pytest.mark.parametrize(
        ("price", "known", "asks"),
        [(None, NOT_ASKED, True), (None, Known(None, b.NOW), False), ("0.80", NOT_ASKED, False)],
    )
    def test_that_answers_at_once_is_asked_how_its_launch_went_all_the_same(
        self, price: str | None, known: Any, asks: bool
    ) -> None:
        ledger = b.ledger(infra="aws", price=price, address="54.0.0.1:8000", ready_since=b.ago(60))
        of = b.remembering(self.OF, {self.NAME: ledger})
        serving = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), outcome=known)
        decision = decided(b.world(of, serving, probes=b.answering(Address("54.0.0.1", 8000))))
        assert decision.replicas[0].ready
        assert (QuestionKind.OUTCOME in asked(decision)) is asks

    def test_without_a_record_is_not_asked_for_its_price(self) -> None:
        of = b.remembering(self.OF, {self.NAME: self.LEDGER})
        assert QuestionKind.PRICE not in asked(decided(b.world(of, b.facts(self.NAME))))

    def test_of_the_cluster_itself_is_never_asked_where_it_is(self) -> None:
        assert self.questions(b.up(self.NAME), b.ledger()) == []
