"""Seconds, numbers and limits of the pages are those of the code: each sentence is put together from its constants."""

import re
from typing import Final

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.catalog import checks
from deepseek_operator.engines import ENGINES
from deepseek_operator.engines.base import startup_seconds
from deepseek_operator.feeds import engines, kubernetes, prices, questions, skypilot
from deepseek_operator.kube import lease
from deepseek_operator.launch import proxy
from deepseek_operator.planning import candidates, planner, ranking
from deepseek_operator.plugin import kubectl, logs, watch
from deepseek_operator.reconcile import blocked, decide, engine, room, tried
from deepseek_operator.reconcile.replica import coming, leaving, ledger, look, places, retry, stuck, view
from deepseek_operator.reconcile.replica import engine as engine_rules
from deepseek_operator.runtime import act, audit, poster, reconciler
from deepseek_operator.runtime.settings import Settings
from deepseek_operator.skypilot import clock
from tests.simulation.promises import traffic
from tests.unit.docs.blocks import ROOT

ORDER: Final = ["no", "first", "second", "third", "fourth"]
ONES: Final = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
(DRAIN,) = {one.graceful_stop_seconds for one in ENGINES.values()}
PROXIED: Final = DRAIN + look.PROXY_LAG_S
WAITING, MENDING = retry.WAITING, retry.retry_of(Reason.QUOTA_EXCEEDED)
RARE: Final = retry.retry_of(Reason.NOT_OFFERED)
STARTUP: Final = re.search(
    r"startupProbe:.*?periodSeconds: (\d+).*?failureThreshold: (\d+)",
    (ROOT / "charts/deepseek-operator/templates/_skypilot.tpl").read_text(encoding="utf-8"),
    re.DOTALL,
)
assert STARTUP is not None


GIB_S: Final = startup_seconds(101, 1) - startup_seconds(100, 1)
START_S: Final = startup_seconds(100, 1) - 100 * GIB_S
NODES_S: Final = startup_seconds(100, 2) - startup_seconds(100, 1)


def minutes(seconds: float) -> str:
    return f"{seconds / 60:g} minutes"


def word(number: float) -> str:
    return ONES[int(number)] if number in range(len(ONES)) else f"{number:g}"


def a(seconds: float, whole: int, name: str) -> str:
    """Return ``a minute``, or what it is where that is not so."""
    return name if seconds == whole else f"{seconds:g} s"


SENTENCES: dict[str, list[str]] = {
    "docs/how-it-works.md": [
        f"healed by a full list every {minutes(kubernetes.RELIST_PERIOD_S)}",
        f"every {skypilot.BUSY_PERIOD_S:g} s while something moves and every {skypilot.IDLE_PERIOD_S:g} s while",
        f"its own figures are read every {a(engines.PERIOD_S, 60, 'minute')}",
        f"none waits longer than {act.PATIENCE_S:g} s for SkyPilot",
        f"an Event comes up to {a(poster.PATIENCE_S, 60, 'a minute')} late",
        f"gives up after {lease.RENEW_LIMIT_S:g} s without its Lease",
        f"for {word(ledger.UNANSWERED_S / 60)} minutes nothing else is sent for it",
        f"`LaunchTimedOut` after {minutes(coming.IDLE_S)}, with what helps",
        f"`TeardownFailed` after {minutes(stuck.TEARDOWN_S)}",
        f"requested again, every {minutes(stuck.TEARDOWN_S)}",
        f"the {ORDER[ledger.CRASH_LOOP_ATTEMPTS]} time in a row `EngineCrashLoop`",
        f"after {WAITING.first_s} s, {2 * WAITING.first_s} s ... {WAITING.cap_s // 60} min",
        f"after {minutes(engine_rules.UNRESPONSIVE_S)} its nodes are replaced",
        f"`EnginePortBlocked` after {a(engine_rules.BLOCKED_S, 60, 'a minute')}",
        f"repeated after {MENDING.first_s} s ... {MENDING.cap_s // 60} min",
        f"{RARE.first_s // 60} min ... {RARE.cap_s // 60} min)",
        f"nothing is launched; asked again every {blocked.CLOUD_REFUSED_S} s",
        f"torn down {minutes(coming.MACHINES_S)} and `provisionTimeoutSeconds`",
        f"left out for {minutes(places.EXCLUDED_S)}",
        f"`LaunchTimedOut` {a(coming.LAUNCH_GRACE_S, 3600, 'an hour')} and `provisionTimeoutSeconds` after",
        f"{minutes(START_S)} after they came up and {GIB_S} s for each GiB of weights ({minutes(NODES_S)} more",
        f"gives its worker back after {coming.STUCK_S} s if another one waits",
        f"the {ORDER[coming.GIVEN_BACK + 1]} one in a row keeps it",
        f"ends within {view.RENEW_S // 86_400} days",
        f"for {DRAIN} s at most, or {PROXIED:g} s behind a proxy",
        f"it waits for {leaving.DRAIN_UNKNOWN_S} s",
        f"For {decide.RECOVERY_S} seconds it may come back by itself",
        f"Where more than {engine._MARGIN:.0%} is missing".replace("%", " %"),
        f"the last {word(tried.KEPT)}",
    ],
    "docs/endpoint.md": [
        f"reads the authority after its start, every {questions.AGAIN_S:g} s until it is there",
        f"has {proxy.REQUESTS:,} requests running at once",
        f"takes {proxy.CONNECTIONS:,} connections",
        f"keeps what has vanished for {proxy.OBSOLETE_S} s",
        f"stays {look.PROXY_LAG_S:g} s longer before it is torn down",
        f"takes requests for {proxy.LEAVE_S} s more",
        f"for up to {a(proxy.GRACE_S, 3600, 'an hour')}",
    ],
    "docs/metrics.md": [f"at most {engines.PERIOD_S * (1 + engines.JITTER):g} s ago"],
    "docs/reasons.md": [
        f"replaced after {minutes(engine_rules.UNRESPONSIVE_S)} of silence",
        f"retries after {WAITING.first_s} s, then less often, at least every {minutes(WAITING.cap_s)}",
        f"retries after {MENDING.first_s} s, then less often, at least every {minutes(MENDING.cap_s)}",
        f"retries after {a(RARE.first_s, 60, 'a minute')}, then less often, at least every {minutes(RARE.cap_s)}",
        f"over {engine._MARGIN:.0%} fewer tokens".replace("%", " %"),
        f"ended {word(ledger.CRASH_LOOP_ATTEMPTS)} times or more in a row",
    ],
    "docs/clouds.md": [
        f"| {WAITING.first_s} s to {WAITING.cap_s // 60} min |",
        f"| {MENDING.first_s} s to {MENDING.cap_s // 60} min |",
        f"| {RARE.first_s // 60} min to {RARE.cap_s // 60} min |",
    ],
    "docs/tasks/update.md": [f"{a(DRAIN, 60, 'a minute')} to finish its requests, {PROXIED:g} s behind a proxy"],
    "docs/operate/sizing.md": [
        f"gives its worker back after {coming.STUCK_S} s",
        f"{Settings().launch_slots} unless you set it",
        f"`waits for one of {Settings().launch_slots} launch slots of the SkyPilot server`",
    ],
    "docs/operate/install.md": [
        f"where it is more than {clock.TOLERATED_S:g} s",
        f"cancels such a launch after {minutes(coming.IDLE_S)}",
    ],
    "docs/operate/upgrade.md": [f"down after {word(engine_rules.UNRESPONSIVE_S / 60)} minutes"],
    "docs/runbooks.md": [f"gives its worker back after {coming.STUCK_S} s"],
    "docs/troubleshooting.md": [
        f"took no renewal of its Lease for {lease.RENEW_LIMIT_S:g} s",
        f"the startup probe waits for {minutes(int(STARTUP[1]) * int(STARTUP[2]))}",
        f"requested again every {minutes(stuck.TEARDOWN_S)}",
    ],
    "docs/kubectl-deepseek.md": [
        f"`--request-timeout` ({kubectl.FAILED_S:g} s unless given)",
        f"looks every {watch.LOOK_S:g} s",
        f"{logs.DEFAULT_LINES} unless given",
        f"no owner for {word(audit.GRACE_S / 60)} minutes",
    ],
    "docs/planning.md": [
        f"every {word(prices.PERIOD_S / 3600)} hours",
        f"older than {checks.MOST_DAYS} days",
        f"at most {word(planner._DEAREST_CHOSEN)} times the cheapest",
        f"on up to {word(candidates.MOST_NODES)} full machines",
        f"only if it holds {ranking._SHORTEST_CHOSEN:,} tokens",
    ],
    "crds/deepseekdeployments.deepseek-operator.io.yaml": [
        f"rented machines have {minutes(coming.MACHINES_S)} more",
    ],
    "docs/scale.md": [
        f"waits up to {reconciler.DETAILS_S:g} s for a change that matters",
        f"wait for up to {a(poster.PATIENCE_S, 60, 'a minute')} while passes wait",
        f"every {skypilot.IDLE_PERIOD_S:g} s while nothing moves",
        f"every {skypilot.BUSY_PERIOD_S:g} s while something does",
        f"With more than {room._PLACES // tried.KEPT} replicas each lists fewer places",
        f"with more than {room._WORDS // 2048} messages are shorter",
    ],
    "docs/testing.md": [
        f"Ready is True without an answer, for more than {traffic.LIE_S:g} s",
        f"is not led to for {traffic.IDLE_S:g} s",
        f"the list every {minutes(kubernetes.RELIST_PERIOD_S)} |",
    ],
}
"""By page. Where one is no longer there, the code has another figure now, or the page another sentence: mend either."""


@pytest.mark.parametrize("page", SENTENCES)
def test_figures_of_a_page_are_those_of_the_code(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert [sentence for sentence in SENTENCES[page] if sentence.lower() not in text.lower()] == []
