from pathlib import Path

import pytest

from tests.cluster.cache import build_once, cache_dir, key_of


def test_cache_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "deepseek-operator"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_dir() == Path("/home/someone/.cache/deepseek-operator")


def test_key_changes_with_words_file_names_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_text("one")
    keys = {key_of(["a", "b"]), key_of(["ab"]), key_of(["b", "a"]), key_of(["a", "b"], [file])}
    file.write_text("two")
    keys.add(key_of(["a", "b"], [file]))
    keys.add(key_of(["a", "b"], [file.rename(tmp_path / "go.sum")]))
    assert len(keys) == 6


def test_key_does_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(file.name)
    assert key_of([], files) == key_of([], reversed(files))


def test_a_build_happens_once(tmp_path: Path) -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "program").write_text("x")

    for _ in range(2):
        assert (build_once(tmp_path / "built", build) / "program").read_text() == "x"
    assert len(calls) == 1


def test_an_interrupted_build_is_begun_afresh(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "built", interrupted)
    assert not (tmp_path / "built").exists()
    whole = build_once(tmp_path / "built", lambda folder: (folder / "whole").touch())
    assert [file.name for file in whole.iterdir()] == ["whole"]
