import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import build, shell
from tests.cluster.api import ClusterError
from tests.cluster.progress import Compiling, Downloads, ImageSteps, Progress, shortened
from tests.cluster.shell import run


class Heard:
    """A watcher that remembers."""

    def __init__(self, ticked: Callable[[], None] = lambda: None) -> None:
        self.lines: list[str] = []
        self.ticks = 0
        self._ticked = ticked

    def line(self, text: str) -> None:
        self.lines.append(text.strip())

    def tick(self) -> None:
        self.ticks += 1
        self._ticked()


def fed(progress: Progress, *lines: str) -> str:
    for line in lines:
        progress.line(f"{line}\n")
    return progress.words()


def test_packages_are_counted_and_other_lines_are_not() -> None:
    progress = Compiling("kubernetes", 3)
    assert fed(progress) == "0 of 3 packages compiled"
    assert fed(progress, "k8s.io/api/core/v1", "# warning: something", "") == "1 of 3 packages compiled"
    assert fed(progress, "internal/cpu", "k8s.io/kubernetes/cmd/kubelet") == "3 of 3 packages compiled, linking"


def test_without_a_total_only_what_is_done_is_said() -> None:
    assert fed(Compiling("etcd", None), "a/b", "c/d") == "2 packages compiled"


def test_more_packages_than_were_expected_are_not_counted_beyond_the_total() -> None:
    assert fed(Compiling("etcd", 1), "a/b", "c/d") == "1 of 1 packages compiled, linking"


def test_modules_that_are_downloaded_are_counted() -> None:
    assert fed(Downloads("helm")) == "looking at what has to be compiled"
    assert fed(Downloads("helm"), "go: downloading a v1.0.0", "go: finding b", "go: downloading c v2") == (
        "2 modules downloaded"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1/4] STEP 2/9: RUN apt-get update", "stage 1 of 4, step 2 of 9: RUN apt-get update"),
        ("STEP 3/5: COPY a b", "step 3 of 5: COPY a b"),
        ("#12 [engine-cpu 4/7] RUN make", "stage engine-cpu, step 4 of 7: RUN make"),
    ],
)
def test_steps_of_an_image_are_told_with_what_they_wrote_last(line: str, words: str) -> None:
    progress = ImageSteps("image operator")
    assert fed(progress) == "preparing"
    assert fed(progress, line) == words
    assert fed(progress, "Get:1 http://deb.debian.org", "Unpacking gcc") == f"{words} (2 lines: Unpacking gcc)"
    assert fed(progress, "STEP 5/5: CMD x") == "step 5 of 5: CMD x"


def test_a_counter_names_what_is_made_and_for_how_long() -> None:
    told: list[str] = []
    seconds = iter([100.0, 142.4])
    progress = Progress("base image", tell=told.append, clock=lambda: next(seconds))
    progress.line("I: Unpacking bash...\n")
    progress.tick()
    assert told == ["  base image, 42 s: 1 lines of output, I: Unpacking bash..."]


def test_long_lines_are_cut() -> None:
    assert shortened("a  b\tc") == "a b c"
    assert len(shortened("x" * 200)) == 70


def test_a_watcher_hears_both_streams_and_standard_output_is_returned() -> None:
    heard = Heard()
    script = "import sys; print('out'); print('err', file=sys.stderr)"
    assert run([sys.executable, "-c", script], watcher=heard) == "out\n"
    assert sorted(heard.lines) == ["err", "out"]


def test_a_program_that_writes_nothing_is_still_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shell, "_TELL_EVERY_S", 0.02)
    go = tmp_path / "go"
    heard = Heard(ticked=go.touch)
    # It ends only when it has been told of once.
    script = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    assert run([sys.executable, "-c", script], watcher=heard) == ""
    assert heard.ticks >= 1


def test_a_failure_under_a_watcher_ends_with_the_last_lines() -> None:
    script = "import sys; [print(n) for n in range(50)]; print('no space left', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ClusterError, match="exited with 3") as failure:
        run([sys.executable, "-c", script], watcher=Heard())
    assert "49" in str(failure.value)
    assert "no space left" in str(failure.value)
    assert "\n7\n" not in str(failure.value)


def test_a_missing_program_is_named_under_a_watcher_too() -> None:
    with pytest.raises(ClusterError, match="no-such-program is not installed"):
        run(["no-such-program"], watcher=Heard())


def test_an_interrupted_program_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_TELL_EVERY_S", 0.02)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", "import time; time.sleep(600)"], watcher=Heard(ticked=interrupted))


def test_go_is_asked_to_name_packages_and_the_counter_knows_how_many(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []
    watchers = []

    def fake(argv: list[str], *, watcher: object = None, **_: object) -> str:
        asked.append(argv)
        watchers.append(watcher)
        if argv[1] == "build":
            (tmp_path / "pause").touch()
        return "a/b\nc/d\n"

    monkeypatch.setattr(build, "run", fake)
    build._builder(build.products()["pause"], "1 of 5")(tmp_path)
    assert [argv[1] for argv in asked] == ["list", "build"]
    assert "-v" in asked[1]
    assert set(asked[0]) & {"-trimpath", "-ldflags"} == {"-trimpath", "-ldflags"}, "other flags, other packages"
    assert isinstance(watchers[1], Compiling)
    assert watchers[1].words() == "0 of 2 packages compiled"


def test_a_build_goes_on_where_nobody_knows_how_much_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fake(argv: list[str], *, watcher: object = None, **_: object) -> str:
        if argv[1] == "list":
            raise ClusterError("offline")
        assert isinstance(watcher, Compiling)
        assert watcher.words() == "0 packages compiled"
        (tmp_path / "pause").touch()
        return ""

    monkeypatch.setattr(build, "run", fake)
    build._builder(build.products()["pause"], "1 of 5")(tmp_path)
    assert (tmp_path / "pause").exists()
