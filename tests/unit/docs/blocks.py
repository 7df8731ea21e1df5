"""Fenced blocks of the documentation, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "charts/deepseek-operator/README.md"])
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_SHELL = {"console", "sh", "bash", "shell"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes
    ----------
    page
        Path of its file below the root.
    line
        Line on which its text begins.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command with what the page says it prints.

    Attributes
    ----------
    text
        The command, continued lines joined, without its comment.
    status
        Exit status that the comment names (``# exit status 3``); 0 without one.
    output
        Lines below it.
    """

    block: Block
    text: str
    status: int = 0
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.block}: {self.text[:60]}"

    @property
    def words(self) -> list[str]:
        """The words as a shell would split them."""
        return shlex.split(self.text)


def blocks() -> list[Block]:
    """Return every block of every page."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start("text")) + 1
            body = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            found.append(Block(str(path.relative_to(ROOT)), line, match["language"], body))
    return found


def commands() -> list[Command]:
    """Return every command of every block that a shell is meant to read."""
    return [command for block in blocks() if block.language in _SHELL for command in commands_of(block)]


def shown(beginning: str, *, having: str = "") -> str:
    """Return the command of the documentation that begins so; where several pages have one, all say the same."""
    found = {command.text for command in commands() if command.text.startswith(beginning) and having in command.text}
    assert len(found) == 1, f"{len(found)} commands begin with {beginning}"
    return found.pop()


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a block: after ``$``, or each line where the block has none."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif prompted and found:
            found[-1][1].append(line)
        elif not prompted and line.strip():
            found.append((line, []))
    return [made for text, output in found for made in _split(block, text, output)]


def _split(block: Block, text: str, output: list[str]) -> list[Command]:
    """Return the commands of one line, which ``;`` may separate; the output belongs to the last."""
    status = re.search(r"# exit status (\d)", text)
    bare = re.sub(r"\s+# .*$", "", text).strip()
    parts = [bare] if "'" in bare or bare.startswith("for ") else [part.strip() for part in bare.split(";")]
    made = [Command(block, part) for part in parts if part]
    if made:
        shown = tuple(line for line in output if line.strip())
        made[-1] = Command(block, made[-1].text, int(status[1]) if status else 0, shown)
    return made
