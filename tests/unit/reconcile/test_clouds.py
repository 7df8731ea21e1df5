"""A cloud that the SkyPilot server cannot use is named before anything is launched there."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.base import Address, Fact, Failure, Known, Unknown
from deepseek_operator.facts.world import Question, QuestionKind, World
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.reconcile.decide import decide
from tests.unit.reconcile import builders as b

DENIED: Known[Failure | None] = Known(
    Failure(Reason.CREDENTIALS_INVALID, "spec.resources.infra: aws: no working credentials"), b.NOW
)
ENABLED: Fact[Failure | None] = Known(None, b.NOW)


def rented(*infra: str, **clouds: Fact[Failure | None]) -> World:
    """A new deployment on these places; ``clouds`` is what is known of them."""
    return b.world(b.rented_deployment(*infra), secrets=b.API_KEY_EXISTS, clouds=clouds)


def found(world: World) -> tuple[list[Any], str, list[tuple[QuestionKind, str]]]:
    decision, status = b.step(world)
    ready = next(one for one in status.conditions if one.type == "Ready")
    return [action for _, action in decision.actions], ready.reason, [(q.kind, q.subject) for q in decision.asks]


ASKS_AWS = [(QuestionKind.CLOUD, "aws")]


def test_a_cloud_is_asked_about_before_the_first_launch() -> None:
    assert found(rented("aws/us-east-1")) == ([], "Planning", ASKS_AWS)


def test_with_credentials_it_is_launched() -> None:
    world = rented("aws", aws=ENABLED)
    assert found(world) == ([Launch(b.name(world.deployment))], "Launching", [])


def test_a_cloud_of_which_nobody_has_heard_stalls_as_any_other_mistake_in_the_spec_does() -> None:
    words = "spec.resources.infra: azzure: no cloud of this name; did you mean azure?"
    wrong: Known[Failure | None] = Known(Failure(Reason.INVALID_SPEC, words), b.NOW)
    _, status = b.step(rented("aws", aws=wrong))
    found = {one.type: (one.status, one.reason, one.message) for one in status.conditions}
    assert found["Stalled"] == ("True", "InvalidSpec", words)
    assert found["Reconciling"] == ("False", "InvalidSpec", "see Stalled")


def test_without_credentials_nothing_is_launched_and_the_field_is_named() -> None:
    actions, reason, asks = found(rented("aws", aws=DENIED))
    assert (actions, reason, asks) == ([], "CredentialsInvalid", [])
    _, status = b.step(rented("aws", aws=DENIED))
    assert "spec.resources.infra: aws" in status.conditions[0].message


def test_a_cloud_without_credentials_is_asked_about_again_and_again() -> None:
    old = replace(DENIED, at=b.NOW - timedelta(seconds=21))
    assert found(rented("aws", aws=old)) == ([], "CredentialsInvalid", ASKS_AWS)


def test_an_old_answer_is_used_while_a_new_one_is_on_its_way() -> None:
    world = rented("aws", aws=Known(None, b.NOW - timedelta(seconds=601)))
    assert found(world) == ([Launch(b.name(world.deployment))], "Launching", ASKS_AWS)


def test_one_cloud_of_two_is_enough() -> None:
    world = rented("aws", "gcp", aws=DENIED, gcp=ENABLED)
    assert found(world)[0] == [Launch(b.name(world.deployment))]


def test_where_kubernetes_will_do_no_cloud_is_asked_about() -> None:
    world = rented("kubernetes", "aws")
    assert found(world) == ([Launch(b.name(world.deployment))], "Launching", [])


def test_a_question_that_fails_does_not_hold_the_launch_which_will_say_the_same() -> None:
    world = rented("aws", aws=Unknown("time-out", b.NOW))
    assert found(world) == ([Launch(b.name(world.deployment))], "Launching", ASKS_AWS)


def test_a_misspelt_cloud_stops_the_whole_list_as_skypilot_would() -> None:
    wrong: Known[Failure | None] = Known(
        Failure(Reason.INVALID_SPEC, "spec.resources.infra: awss: not a valid cloud"), b.NOW
    )
    assert found(rented("awss", "gcp", awss=wrong, gcp=ENABLED))[1] == "InvalidSpec"


def test_a_rented_replica_whose_status_was_lost_is_asked_for_at_the_port_of_the_plan() -> None:
    of = b.rented_deployment()
    cluster = b.name(of)
    row = b.row(cluster, cloud="AWS", region="us-east-1")
    world = b.world(of, b.facts(cluster, skypilot=b.seen(row)), secrets=b.API_KEY_EXISTS)
    decision = decide(world, b.planned(of))
    assert Question(QuestionKind.ENDPOINT, str(cluster), b.PORT) in decision.asks


def test_of_two_clouds_that_cannot_be_used_the_misspelt_one_is_named() -> None:
    wrong: Known[Failure | None] = Known(
        Failure(Reason.INVALID_SPEC, "spec.resources.infra: awss: not a valid cloud"), b.NOW
    )
    assert found(rented("aws", "awss", aws=DENIED, awss=wrong))[1] == "InvalidSpec"


def test_a_cloud_with_credentials_is_not_asked_about_again_so_soon() -> None:
    assert found(rented("aws", aws=Known(None, b.NOW - timedelta(seconds=599))))[2] == []


def test_clouds_and_secrets_are_asked_about_together() -> None:
    _, _, asks = found(replace(rented("aws"), secrets={}))
    assert sorted(kind for kind, _ in asks) == [QuestionKind.CLOUD, QuestionKind.SECRET]


def test_missing_credentials_are_named_before_any_secret_is_read() -> None:
    assert found(replace(rented("aws", aws=DENIED), secrets={}))[1:] == ("CredentialsInvalid", [])


def test_while_everything_that_is_wanted_serves_no_cloud_is_asked_about() -> None:
    of, at = b.rented_deployment("aws"), Address("54.0.0.1", 8000)
    kept = b.ledger(infra="aws", price="0.8", renting=True, ready_since=b.ago(60), address=str(at))
    known = b.facts(b.name(of), skypilot=b.seen(b.row(b.name(of), cloud="AWS")))
    world = b.world(b.remembering(of, {b.name(of): kept}), known, probes=b.answering(at), endpoints=(b.endpoints(at),))
    assert found(world)[2] == []
