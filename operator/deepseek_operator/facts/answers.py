"""Answers to questions that a decision asked: how a launch ended, whether a job runs, whether a Secret is there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.base import Fact, Failure, Known, Unknown
from deepseek_operator.facts.clock import young
from deepseek_operator.facts.names import ClusterName, parse_cluster_name
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind

__all__ = ["Answers"]

SECRET_MAX_AGE_S: Final = 60.0
"""Seconds for which the answer that a Secret exists is used."""


class Answers:
    """The last answer to each question."""

    def __init__(self) -> None:
        self._answers: dict[Question, Fact[Any]] = {}
        self._of_name: dict[str, set[Question]] = {}
        self._names: dict[str, set[ClusterName]] = {}
        """The same clusters, by the digits of the UID in their names."""
        self._secrets: dict[str, dict[SecretKeyRef, Known[str]]] = {}
        """By namespace; what is too old is dropped when another one comes."""
        self._clouds: dict[str, Fact[Failure | None]] = {}

    @property
    def clouds(self) -> Mapping[str, Fact[Failure | None]]:
        """Whether each cloud that was asked about can be used, or why not."""
        return self._clouds

    def put(self, question: Question, answer: Fact[Any]) -> bool:
        """Store an answer, and return whether it is news.

        A question that fails again keeps the time since when it has been failing.
        """
        if question.kind is QuestionKind.SECRET:
            self._put_secret(question, answer)
            return True
        before = self._answers.get(question)
        if isinstance(answer, Unknown) and isinstance(before, Unknown) and before.since is not None:
            answer = Unknown(answer.why, before.since)
        self._answers[question] = answer
        if question.kind not in (QuestionKind.AUTHORITY, QuestionKind.API_KEY):
            self._of_name.setdefault(question.subject, set()).add(question)
            if (name := parse_cluster_name(question.subject)) is not None:
                self._names.setdefault(name.uid, set()).add(name)
        return _is_news(question.kind, before, answer)

    def put_cloud(self, cloud: str, answer: Fact[Failure | None]) -> bool:
        """Store whether a cloud can be used; return whether that is news to all that may use it.

        One unknown answer after another is no news: a deployment that waits asks every few seconds and looks by itself.
        """
        before = self._clouds.get(cloud)
        self._clouds[cloud] = answer
        return not (_same(before, answer) or (isinstance(before, Unknown) and isinstance(answer, Unknown)))

    def of(self, name: str) -> Mapping[QuestionKind, Fact[Any]]:
        """Return what was answered about a cluster, by kind of question."""
        return {question.kind: self._answers[question] for question in self._of_name.get(name, ())}

    def of_deployment(self, question: Question) -> Fact[Any]:
        """Return the authority of a deployment, or the key of its engines."""
        return self._answers.get(question, NOT_ASKED)

    def drop_of_deployment(self, question: Question) -> None:
        """Forget one of them: the deployment is gone."""
        self._answers.pop(question, None)

    def secrets(self, namespace: str, now: datetime) -> Mapping[SecretKeyRef, Fact[str]]:
        """Return what is known of the Secrets of a namespace; an answer that is too old counts as not asked."""
        known = self._secrets.get(namespace, {})
        return {reference: answer if _fresh(answer, now) else NOT_ASKED for reference, answer in known.items()}

    def names(self, digits: str) -> tuple[ClusterName, ...]:
        """Return the clusters about which something was answered, of all UIDs that begin with these digits."""
        return tuple(self._names.get(digits, ()))

    def drop_namespace(self, namespace: str) -> None:
        """Forget the Secrets of a namespace in which no deployment is left."""
        self._secrets.pop(namespace, None)

    def _put_secret(self, question: Question, answer: Fact[str]) -> None:
        namespace, name, key = question.subject.split("/", 2)
        known, reference = self._secrets.setdefault(namespace, {}), SecretKeyRef(name=name, key=key)
        if isinstance(answer, Known):
            for stale in [one for one, before in known.items() if not _fresh(before, answer.at)]:
                del known[stale]
            known[reference] = answer
        else:
            known.pop(reference, None)

    def forget(self, name: str) -> None:
        """Forget what was answered about a cluster: it is no longer what it was."""
        for question in self._of_name.pop(name, set()):
            del self._answers[question]
        parsed = parse_cluster_name(name)
        if parsed is not None and (alike := self._names.get(parsed.uid)) is not None:
            alike.discard(parsed)
            if not alike:
                del self._names[parsed.uid]


def _is_news(kind: QuestionKind, before: Fact[Any] | None, answer: Fact[Any]) -> bool:
    """Return whether a decision can depend on an answer."""
    if kind is QuestionKind.API_KEY:
        return False  # what it is concerns only who makes a Secret again
    if kind is QuestionKind.JOB and not isinstance(before, Known) and isinstance(answer, Known):
        return answer.value.state is not JobState.ACTIVE  # as is assumed while nobody knows
    return not _same(before, answer)


def _same(before: Fact[Any] | None, answer: Fact[Any]) -> bool:
    return isinstance(before, Known) and isinstance(answer, Known) and before.value == answer.value


def _fresh(answer: Known[str], now: datetime) -> bool:
    return young(now, answer.at, SECRET_MAX_AGE_S)
