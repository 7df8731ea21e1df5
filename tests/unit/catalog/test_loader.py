from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from deepseek_operator.catalog import Accelerator, CatalogError, load_catalog


def write(tmp_path: Path, document: object, name: str = "own.yaml") -> Path:
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def own_gpu(**changes: object) -> dict[str, object]:
    sources = {"memoryGib": "own", "computeCapability": "own", "counts": "own"}
    gpu = {
        "name": "X100",
        "memoryGib": 96,
        "computeCapability": "9.0",
        "fp8": "Native",
        "counts": [8],
        "sources": sources,
    }
    return {"sources": {"own": "our data sheet"}, "gpus": [{**gpu, **changes}]}


def test_every_released_deepseek_model_is_there() -> None:
    released = [model for model in load_catalog().models.values() if model.variant_of is None]
    assert len(released) >= 32


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1"),
        ("deepseek-ai/DeepSeek-R1-685B", "deepseek-ai/DeepSeek-R1"),
        ("DeepSeek-R1-685B", "deepseek-ai/DeepSeek-R1"),
        ("DEEPSEEK-r1", "deepseek-ai/DeepSeek-R1"),
        ("r1-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
        ("DeepSeek-V3.2", "deepseek-ai/DeepSeek-V3.2"),
    ],
)
def test_a_model_is_found_by_id_short_name_and_alias(name: str, model_id: str) -> None:
    model = load_catalog().find(name)
    assert model is not None
    assert model.id == model_id


def test_an_unknown_model_is_none() -> None:
    assert load_catalog().find("deepseek-ai/DeepSeek-R9") is None


def test_similar_names_are_suggested() -> None:
    assert load_catalog().similar_models("DeepSeek-R1-Distil-Llama-8B")[0] == "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
    assert "H100" in load_catalog().similar_gpus("H10O")


def test_a_users_gpu_is_added(tmp_path: Path) -> None:
    catalog = load_catalog([write(tmp_path, own_gpu())])
    gpu = catalog.find_gpu("x100")
    assert gpu is not None
    assert gpu.memory_gib == 96
    assert catalog.find_gpu("H100") is not None


def test_a_users_model_can_start_from_one_of_the_package(tmp_path: Path) -> None:
    row = {"base": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "id": "acme/tuned-8b", "aliases": ["tuned"]}
    model = load_catalog([write(tmp_path, {"models": [row]})]).find("tuned")
    assert model is not None
    assert model.shape.layers == 32


def test_a_directory_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, own_gpu(memoryGib=90), "a.yaml")
    write(tmp_path, own_gpu(memoryGib=91), "b.yaml")
    gpu = load_catalog([tmp_path]).find_gpu("X100")
    assert gpu is not None
    assert gpu.memory_gib == 91


def test_a_users_price_replaces_one_of_the_package(tmp_path: Path) -> None:
    row = {
        "cloud": "aws",
        "instanceType": "p5.48xlarge",
        "accelerators": "H100:8",
        "onDemand": 1.5,
        "asOf": "2026-11-01",
        "source": "own",
    }
    catalog = load_catalog([write(tmp_path, {"sources": {"own": "contract"}, "prices": [row]})])
    cheapest = catalog.cheapest(Accelerator(name="H100", count=8), spot=False, clouds=["aws"])
    assert cheapest is not None
    assert cheapest.on_demand == Decimal("1.5")


@pytest.mark.parametrize(
    ("document", "row", "field", "word"),
    [
        (own_gpu(memoryGib=-1), "X100", "memoryGib", "must be above"),
        (own_gpu(counts=[8, 0]), "X100", "counts[1]", "at least 1"),
        (own_gpu(memory=1), "X100", "memory", "no such field"),
        (own_gpu(fp8="Yes"), "X100", "fp8", "Native"),
        (own_gpu(sources={"memoryGib": "own"}), "X100", "sources.computeCapability", "source"),
        (
            own_gpu(sources=dict.fromkeys(("memoryGib", "computeCapability", "counts"), "nobody")),
            "X100",
            "sources.computeCapability",
            "nobody",
        ),
        ({"gpus": [{"memoryGib": 3}]}, "row 1", "name", "given"),
        ({"gpus": ["H100"]}, "row 1", "", "mapping"),
        ({"models": [{"base": "nobody/nothing", "id": "a/b"}]}, "a/b", "base", "nobody/nothing"),
        (
            {"models": [{"base": "deepseek-ai/DeepSeek-R1", "id": "a/b", "aliases": ["r1-8b"]}]},
            "a/b",
            "aliases",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        ),
        (
            {"models": [{"base": "deepseek-ai/DeepSeek-R1", "id": "a/b", "aliases": [], "weights": {"gib": 6413}}]},
            "a/b",
            "weights.gib",
            "bits",
        ),
        (
            {"models": [{"base": "deepseek-ai/DeepSeek-R1", "id": "a/b", "aliases": [], "kvReplicated": False}]},
            "a/b",
            "kvReplicated",
            "mla",
        ),
        ({"models": [{"base": ["a/b"], "id": "a/c"}]}, "a/c", "base", "no row ['a/b']"),
        ({"gpu": []}, "", "gpu", "models"),
        ({"gpus": {}}, "", "gpus", "list"),
        ("a: [", "", "", "YAML"),
        ("prices: [{asOf: 2026-02-30}]", "", "", "day is out of range for month"),
        ("[]", "", "", "mapping"),
    ],
)
def test_a_bad_file_is_refused_with_file_row_and_field(
    tmp_path: Path, document: object, row: str, field: str, word: str
) -> None:
    path = write(tmp_path, document)
    with pytest.raises(CatalogError) as caught:
        load_catalog([path])
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(path), row, field)
    assert word in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog([tmp_path / "nothing.yaml"])


def test_cheapest_price_depends_on_capacity_and_cloud() -> None:
    catalog, gpus = load_catalog(), Accelerator(name="H100", count=8)
    on_demand = catalog.cheapest(gpus, spot=False)
    spot = catalog.cheapest(gpus, spot=True)
    azure = catalog.cheapest(gpus, spot=False, clouds=["azure"])
    assert on_demand
    assert spot
    assert azure
    assert on_demand.cloud == "nebius"
    assert spot.spot == Decimal("10.24")
    assert azure.on_demand == Decimal("98.32")
    assert catalog.cheapest(gpus, spot=True, clouds=["azure"]) is None


def test_prices_can_be_replaced_by_live_ones() -> None:
    catalog = load_catalog()
    live = catalog.with_prices([])
    assert live.cheapest(Accelerator(name="L4", count=1), spot=False) is None
    assert catalog.cheapest(Accelerator(name="L4", count=1), spot=False) is not None


def test_every_price_names_a_gpu_and_count_of_the_catalog() -> None:
    catalog = load_catalog()
    for price in catalog.prices:
        name, _, count = price.accelerators.partition(":")
        gpu = catalog.find_gpu(name)
        assert gpu is not None, price.accelerators
        assert int(count) in gpu.counts, price.accelerators
