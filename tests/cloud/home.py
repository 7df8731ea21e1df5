"""The SkyPilot server's home folder: credentials, endpoint, and a catalog of a few machines in three regions.

A catalog file without ``.meta/<file>.md5`` beside it counts as edited by the user: SkyPilot never fetches it again.
Zones are ids there; SkyPilot asks the provider for their names.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from tests.cloud.simulator.cloud import IMAGE
from tests.cluster.versions import ROOT

__all__ = ["ACCESS_KEY", "CATALOG", "REGIONS", "SECRET_KEY", "Offer", "price", "seed"]

ACCESS_KEY: Final = "AKIASIMULATED0000001"
SECRET_KEY: Final = "canary-of-the-cloud-account"


@dataclass(frozen=True)
class Offer:
    """A type of machine; prices in US dollars an hour, in the cheapest region."""

    type: str
    cpus: int
    memory_gib: int
    price: Decimal
    spot: Decimal
    gpu: str = ""
    gpus: int = 0
    gpu_mib: int = 0


CATALOG: Final = (
    Offer("m6i.large", 2, 8, Decimal("0.096"), Decimal("0.04")),
    Offer("m6i.2xlarge", 8, 32, Decimal("0.384"), Decimal("0.16")),
    Offer("g6.xlarge", 4, 16, Decimal("0.8048"), Decimal("0.3"), "L4", 1, 22888),
    Offer("g6.12xlarge", 48, 192, Decimal("4.6016"), Decimal("1.5"), "L4", 4, 22888),
    Offer("p5.48xlarge", 192, 2048, Decimal("98.32"), Decimal("30"), "H100", 8, 81920),
)

REGIONS: Final = {
    "us-east-1": (Decimal("1.0"), ("use1-az6", "use1-az1", "use1-az2")),
    "us-west-2": (Decimal("1.1"), ("usw2-az2", "usw2-az1")),
    "eu-west-1": (Decimal("1.3"), ("euw1-az1",)),
}
"""By region: how much dearer than the cheapest, and its zones."""

_NO_CONTROLLERS: Final = """\
jobs:
  controller:
    # Else the server starts six processes for managed jobs, which nobody uses here.
    consolidation_mode: false
"""

_COLUMNS: Final = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,"
    "Arch,LocalDiskType,NVMeSupported,LocalDiskSize,LocalDiskCount,MaximumEfaInterfaces"
)


def price(machine: str, region: str, *, spot: bool = False) -> Decimal:
    """Return what a machine costs, in US dollars an hour."""
    (offer,) = [offer for offer in CATALOG if offer.type == machine]
    return (offer.spot if spot else offer.price) * REGIONS[region][0]


def seed(home: Path, endpoint: str) -> None:
    """Fill an empty home folder.

    Parameters
    ----------
    endpoint
        URL under which all services of the provider answer.
    """

    def write(path: str, text: str) -> None:
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write(".aws/credentials", f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    write(".aws/config", f"[default]\nregion = us-east-1\nendpoint_url = {endpoint}\n")
    own = (ROOT / "images/skypilot/seed/.sky/config.yaml").read_text()
    write(".sky/config.yaml", f"{own}{_NO_CONTROLLERS}")
    catalogs = ".sky/catalogs/v8"
    write(f"{catalogs}/aws/vms.csv", "\n".join([_COLUMNS, *_machines()]) + "\n")
    tags = ("custom-cpu-ubuntu", "custom-gpu-ubuntu", "custom-gpu-ubuntu-cuda13")
    images = [f"skypilot:{tag},{region},ubuntu,22.04,{IMAGE},20260101," for tag in tags for region in REGIONS]
    header = "Tag,Region,OS,OSVersion,ImageId,CreationDate,BaseImageId"
    write(f"{catalogs}/aws/images.csv", "\n".join([header, *images]) + "\n")
    write(f"{catalogs}/aws/instance_quota_mapping.csv", "InstanceType,OnDemandInstanceCode,SpotInstanceCode\n")
    names = "".join(f'{name},"AWS, Kubernetes"\n' for name in sorted({offer.gpu for offer in CATALOG if offer.gpu}))
    write(f"{catalogs}/common/accelerators.csv", f"AcceleratorName,Clouds\n{names}")


def _machines() -> list[str]:
    return [
        f"{offer.type},{offer.gpu},{offer.gpus or ''},{offer.cpus:.1f},{offer.memory_gib:.1f},{_gpu_info(offer)},"
        f"{offer.price * factor},{offer.spot * factor},{region},{zone},x86_64,,,,,"
        for offer in CATALOG
        for region, (factor, zones) in REGIONS.items()
        for zone in zones
    ]


def _gpu_info(offer: Offer) -> str:
    if not offer.gpu:
        return ""
    memory = f"'MemoryInfo': {{'SizeInMiB': {offer.gpu_mib}}}"
    gpu = f"{{'Name': '{offer.gpu}', 'Manufacturer': 'NVIDIA', 'Count': {offer.gpus}, {memory}}}"
    return f"\"{{'Gpus': [{gpu}], 'TotalGpuMemoryInMiB': {offer.gpu_mib * offer.gpus}}}\""
