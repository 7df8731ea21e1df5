"""Thought and answer, told apart however the text is cut into pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.plugin.thoughts import Kind, Splitter

CASES = [
    ("<think>a b</think>\n\nc d", "a b", "c d"),
    ("\n<think>\na</think>c", "\na", "c"),
    ("<think></think>c", "", "c"),
    ("no thought", "", "no thought"),
    ("  no thought", "", "  no thought"),
    ("a < b and </thin> c", "", "a < b and </thin> c"),
    ("<think>cut off", "cut off", ""),
    ("<think>cut </thi", "cut </thi", ""),
    ("the template opened it</think>\n\nanswer", "the template opened it", "answer"),
    ("<think>a</think>say <think>b</think>", "a", "say <think>b</think>"),
    ("<thi", "", "<thi"),
    ("", "", ""),
]


def split(pieces: list[str]) -> tuple[str, str]:
    splitter, thought, answer = Splitter(), "", ""
    parts = [part for piece in pieces for part in splitter.feed(piece)] + list(splitter.end())
    for kind, text in parts:
        if kind is Kind.TURN:
            thought, answer = thought + answer, ""
        elif kind is Kind.THOUGHT:
            thought += text
        else:
            answer += text
    return thought, answer


@pytest.mark.parametrize(("text", "thought", "answer"), CASES)
def test_thought_and_answer_are_told_apart(text: str, thought: str, answer: str) -> None:
    assert split([text]) == (thought, answer)


@given(st.sampled_from([case[0] for case in CASES]), st.lists(st.integers(0, 40)))
def test_how_the_text_is_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert split(pieces) == split([text])


@given(st.text(alphabet="<>/think ab\n", max_size=40))
def test_nothing_is_lost_but_tags_and_empty_lines(text: str) -> None:
    thought, answer = split(list(text))
    kept = (thought + answer).replace("\n", "").replace(" ", "")
    assert len(kept) >= len(text.replace("\n", "").replace(" ", "")) - len("<think></think>")


def test_an_answer_is_not_held_back() -> None:
    splitter = Splitter()
    assert list(splitter.feed("Hello")) == [(Kind.ANSWER, "Hello")]
    assert list(splitter.feed(" you")) == [(Kind.ANSWER, " you")]
