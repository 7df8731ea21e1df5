"""Stories as films: what a user sees and what the operator does, frame by frame.

``pytest tests/simulation/test_films.py --regenerate-expected`` writes them again; read the diff before committing.
"""

from pathlib import Path

import pytest

from tests.simulation.film import film
from tests.simulation.schedule import Event

FOLDER = Path(__file__).parent / "films"

FILMS: dict[str, tuple[int, bool, tuple[Event, ...]]] = {
    "create-and-delete": (1, False, (Event(40, "delete", "a"),)),
    "rolling-update": (2, False, (Event(40, "edit", "a", 2),)),
    "rolling-update-without-surge": (2, False, (Event(40, "no-surge", "a"), Event(41, "edit", "a", 2))),
    "rolling-update-taken-back": (2, False, (Event(40, "edit", "a", 2), Event(72, "edit", "a", 0))),
    "another-port": (2, False, (Event(40, "port", "a"),)),
    "scale-down-and-up": (2, False, (Event(40, "scale", "a", 1), Event(70, "scale", "a", 2))),
    "engine-ends": (2, False, (Event(40, "engine-ends", "a"),)),
    "engine-hangs": (1, False, (Event(40, "engine-hangs", "a"), Event(230, "resume", "a"))),
    "nodes-lost-during-a-rolling-update": (2, False, (Event(40, "edit", "a", 2), Event(46, "nodes-go", "a", 1))),
    "operator-restarts-during-a-rolling-update": (2, False, (Event(40, "edit", "a", 2), Event(46, "kill", "a", 3))),
    "skypilot-restarts-during-a-launch": (1, False, (Event(3, "skypilot-restarts", "a", 5),)),
    "pods-find-no-node": (1, False, (Event(0, "cluster-full", "a", 60),)),
    "launch-fails-twice": (1, False, (Event(0.01, "launch-fails", "a"), Event(0.02, "launch-fails", "a"))),
    "rented-without-credentials": (1, True, (Event(0, "credentials-go", "b", 70), Event(110, "nodes-go", "b"))),
    "rented-update-above-the-cap": (
        1,
        True,
        (Event(40, "cap", "b", 1), Event(41, "edit", "b", 2), Event(90, "cap", "b", 2)),
    ),
    "spot-machine-dies-during-a-rolling-update": (
        2,
        True,
        (Event(40, "edit", "b", 2), Event(46, "nodes-go", "b", 1)),
    ),
    "rented-address-of-a-lost-machine-goes-to-its-successor": (
        2,
        True,
        (Event(40, "edit", "b", 2), Event(40.1, "address-taken", "b", 0)),
    ),
    "rented-machines-never-answer": (1, True, (Event(0, "machines-mute", "b"), Event(1800, "resume", "b"))),
    "rented-with-approval": (
        1,
        True,
        (
            Event(0, "require-approval", "b"),
            Event(30, "approve", "b"),
            Event(80, "nodes-go", "b"),
            Event(120, "scale", "b", 2),
            Event(130, "kill", "b", 2),
            Event(150, "approve", "b"),
            Event(200, "scale", "b", 1),
        ),
    ),
    "rented-spot-with-one-on-demand": (
        3,
        True,
        (
            Event(0, "spot", "b", 1),
            Event(60, "no-spot", "b", 60),
            Event(61, "reclaim", "b"),
            Event(200, "reclaim", "b"),
            Event(300, "nodes-go", "b"),
            Event(400, "scale", "b", 2),
        ),
    ),
    "teardown-fails-once": (2, False, (Event(40, "teardown-fails", "a"), Event(41, "scale", "a", 1))),
    "suspend-and-resume": (1, False, (Event(40, "suspend", "a"), Event(70, "resume", "a"))),
}


@pytest.mark.parametrize("name", FILMS)
def test_the_film_is_the_expected_one(name: str, request: pytest.FixtureRequest) -> None:
    replicas, rented, events = FILMS[name]
    shown = film(events, replicas=replicas, rented=rented)
    expected = FOLDER / f"{name}.txt"
    if request.config.getoption("--regenerate-expected", default=False):
        FOLDER.mkdir(exist_ok=True)
        expected.write_text(shown, encoding="utf-8")
    assert shown == expected.read_text(encoding="utf-8")
