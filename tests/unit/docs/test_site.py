"""The site builds strictly, loads nothing from elsewhere, and its generated pages say everything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepseek_operator.api.crd import custom_resource_definition
from deepseek_operator.plugin.main import SUMMARIES
from hack.site import api_reference, catalog_page, cli_reference
from tests.unit.api.test_crd import FIELDS
from tests.unit.docs.blocks import ROOT

API = api_reference.page()
LOADED = re.compile(r"""(?:<(?:script|img|iframe|source)\b[^>]*\bsrc|<link\b[^>]*\bhref)=["']?(https?:)?//[^"'\s>]+""")
STYLED = re.compile(r"""(?:@import|url\()\s*["']?(?:https?:)?//""")
CANONICAL = re.compile(r'<link rel="(?:canonical|prev|next)"[^>]*>')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 40
    assert styles
    for page in pages:
        text = CANONICAL.sub("", page.read_text(encoding="utf-8"))
        assert LOADED.search(text) is None, page
        assert 'data-md-component="source"' not in text, f"{page}: the theme asks the forge for stars"
        assert 'class="mermaid"' not in text, f"{page}: the theme loads mermaid from a CDN"
    assert [style for style in styles if STYLED.search(style.read_text(encoding="utf-8"))] == []


def test_a_script_from_elsewhere_would_be_seen() -> None:
    assert LOADED.search('<script async src="https://unpkg.com/mermaid.js"></script>')
    assert LOADED.search('<link rel="stylesheet" href="//fonts.googleapis.com/css">')
    assert STYLED.search("@import 'https://fonts.example.com/a.css'")
    assert not LOADED.search('<a href="https://docs.skypilot.co">')


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_has_its_place_in_the_api_reference(path: str) -> None:
    top, _, rest = path.removeprefix("dsd.").partition(".")
    if top in ("apiVersion", "kind"):
        return
    parent, _, name = f"{top}.{rest}".rstrip(".").rpartition(".")
    if not rest:
        assert f"\n## {top}\n" in API
        return
    level = "##" if parent in ("spec", "status") else "###"
    section = API.partition(f"\n{level} {parent}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert f"| `{name}` |" in section, f"{parent} has no row {name}"


def test_every_column_of_kubectl_get_is_listed() -> None:
    columns = custom_resource_definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if f"| {column['name']} | `{column['jsonPath']}` |" not in API] == []


def test_defaults_limits_and_allowed_values_are_shown() -> None:
    assert "| `provisionTimeoutSeconds` | integer | `120` |" in API
    assert "One of `OnDemand`, `Spot`, `SpotThenOnDemand`." in API
    assert "from 1 to 65,535" in API
    assert "The API server checks:" in API


def test_a_path_of_a_field_leads_to_its_schema() -> None:
    assert api_reference.schema_at("spec.resources.accelerators[0]") is not None
    assert api_reference.schema_at("status.instances[*].placesTried") is not None
    assert api_reference.schema_at("metadata.annotations") is not None
    assert api_reference.schema_at("status.endpoints") is None
    assert api_reference.schema_at("spec.podTemplate.volumes[0].nfs.server") is not None


def test_every_command_has_its_help_in_the_reference() -> None:
    page = cli_reference.page()
    names = [f"### deepseek-operator {' '.join(words)}\n" for words in cli_reference.commands()]
    assert len(names) > 8
    assert [name for name in names + [f"### kubectl deepseek {name}\n" for name in SUMMARIES] if name not in page] == []


def test_every_model_and_gpu_is_listed() -> None:
    page = catalog_page.page()
    assert "| `deepseek-ai/DeepSeek-R1` |" in page
    assert "| `H200` |" in page
