"""mkdocs hooks: pages generated while the site is built, and links that lead out of ``docs/``.

Pages of the root (CONTRIBUTING.md, the chart's README ...) are taken over with their links put right. A link from
``docs/`` to another file of the repository becomes one to the forge, after it was checked that the file is there.
"""

import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hack.site import api_reference, catalog_page, cli_reference, verified_page

ROOT = Path(__file__).parents[2]
FORGE = "https://github.com/deepseek-operator/deepseek-operator/blob/main/"
GENERATED: dict[str, Callable[[], str]] = {
    "reference/api.md": api_reference.page,
    "reference/cli.md": cli_reference.page,
    "reference/models.md": catalog_page.page,
    "verified.md": verified_page.page,
}
"""Pages that are made while the site is built, so that they cannot be stale."""
TAKEN_OVER = {
    "reference/values.md": "charts/deepseek-operator/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "reporting.md": "SECURITY.md",
}
"""Pages that are files elsewhere in the repository."""

_LINK = re.compile(r"(?P<head>\]\()(?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
_log = logging.getLogger("mkdocs.hooks.deepseek_operator")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in ``docs/``."""
    for path, make in GENERATED.items():
        files.append(File.generated(config, path, content=make()))
    for path, source in TAKEN_OVER.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of ``docs/`` into links to the forge, and those of taken-over pages into links within the site."""
    here = page.file.src_uri
    source = TAKEN_OVER.get(here, f"docs/{here}")

    def put_right(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"]))
        anchor = match["anchor"] or ""
        uri = _page_of(target)
        if uri is not None and (files.get_file_from_path(uri) or source.startswith("docs/")):
            return f"{match['head']}{posixpath.relpath(uri, posixpath.dirname(here) or '.')}{anchor})"
        if not (ROOT / target).exists():
            _log.warning("%s links to %s, which is not there", source, target)
        return f"{match['head']}{FORGE}{target}{anchor})"

    return _outside_code(markdown, lambda text: _LINK.sub(put_right, text))


def _page_of(target: str) -> str | None:
    """Return which page of the site a file of the repository is; None if it is none."""
    for uri, source in TAKEN_OVER.items():
        if source == target:
            return uri
    return target.removeprefix("docs/") if target.startswith("docs/") else None


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to everything that is not in a fenced block."""
    parts: list[str] = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Make mkdocs look again when what pages are generated from changes (``make docs-serve``)."""
    config.watch = [*config.watch, str(ROOT / "operator"), str(ROOT / "charts"), *map(str, ROOT.glob("*.md"))]
    return config
