"""``kubectl deepseek events``: what happened to a deployment and to the pods of its replicas."""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from deepseek_operator.api.names import KIND
from deepseek_operator.facts.text import clean
from deepseek_operator.plugin.kubectl import Kubectl
from deepseek_operator.plugin.lines import Segment, columns
from deepseek_operator.plugin.objects import age
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option
from deepseek_operator.plugin.screen import Screen, print_json, say
from deepseek_operator.plugin.watch import LOOK_S, looks

__all__ = ["COMMAND", "Happened", "select"]


@dataclass(frozen=True)
class Happened:
    """One Event.

    Attributes
    ----------
    at
        When it happened last.
    about
        ``deployment``, or the name of a pod.
    """

    at: str
    type: str
    reason: str
    about: str
    count: int
    message: str


def select(bodies: Iterable[Mapping[str, Any]], uid: str) -> list[Happened]:
    """Return the Events of a deployment and of its pods, the oldest first.

    Pods are told by their names, which contain 8 digits of the deployment's UID: most of those that Events speak of are
    gone.
    """
    digits = f"-{uid.replace('-', '')[:8]}-"
    found = []
    for body in bodies:
        about = body.get("involvedObject") or body.get("regarding") or {}
        if about.get("kind") == KIND and about.get("uid") == uid:
            found.append(_read(body, "deployment"))
        elif about.get("kind") == "Pod" and digits in str(about.get("name")):
            found.append(_read(body, str(about["name"])))
    return sorted(found, key=lambda happened: happened.at)


def _read(body: Mapping[str, Any], about: str) -> Happened:
    series = body.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        body.get("lastTimestamp"),
        body.get("eventTime"),
        body.get("firstTimestamp"),
    )
    at = next((time for time in times if time), None) or body["metadata"].get("creationTimestamp") or ""
    return Happened(
        at=f"{at[:19]}Z" if at else "",  # microseconds on some: they would not sort with those on none
        type=str(body.get("type") or "Normal"),
        reason=str(body.get("reason") or ""),
        about=about,
        count=int(series.get("count") or body.get("count") or 1),
        message=clean(str(body.get("message") or body.get("note") or "")),
    )


def _run(options: Options) -> int:
    kubectl = kubectl_of(options)
    body = kubectl.deployment(options.name)
    here = kubectl.within(str(body["metadata"]["namespace"]))
    uid = str(body["metadata"].get("uid", ""))
    if not options.watch:
        _print(_look(here, uid), options)
        return 0
    shown: set[Happened] = set()
    for happened in looks(lambda: _look(here, uid)):
        _print([one for one in happened if one not in shown], options, again=bool(shown))
        shown.update(happened)
    return 0


def _look(kubectl: Kubectl, uid: str) -> list[Happened]:
    return select(kubectl.get("events").items(), uid)


def _print(happened: list[Happened], options: Options, *, again: bool = False) -> None:
    if options.output == "json":
        if options.watch:
            for one in happened:
                print_json(asdict(one), line=True)
        else:
            print_json({"events": [asdict(one) for one in happened]})
        return
    if not happened:
        if not again and not options.watch:
            say("no events; Kubernetes forgets them after an hour")
        return
    now = datetime.now(UTC)
    rows = [
        (
            Segment(age(one.at, now)),
            Segment(one.type, "bad" if one.type == "Warning" else ""),
            Segment(one.reason, "bad" if one.type == "Warning" else ""),
            Segment(f"{one.count}"),
            Segment(one.about, "faint"),
            Segment(one.message),
        )
        for one in happened
    ]
    lines = columns(("SINCE", "TYPE", "REASON", "TIMES", "ABOUT", "MESSAGE"), rows, right=frozenset({"TIMES"}))
    Screen().show(lines[1:] if again else lines)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument("-w", "--watch", action="store_true", help=f"go on, and show new ones every {LOOK_S:g} s")
    output_option(parser)


COMMAND: Final = Command(
    name="events",
    description="""
Lists the Events of a deployment, which are the operator's, together with those of the pods of its replicas, which are
the scheduler's and the kubelet's: why a pod found no node, which image is being pulled. Pods that are gone
are included.

Kubernetes keeps Events for an hour unless its API server was told otherwise.
""",
    examples=(
        ("kubectl deepseek events r1", "what happened in the last hour"),
        ("kubectl deepseek events r1 --watch", "and what happens now"),
    ),
    arguments=_arguments,
    run=_run,
)
