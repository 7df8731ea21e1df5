"""Put empty CUDA libraries beside torch, so that PyPI's build of it loads without 3 GB that no CPU ever runs.

Usage: stub_cuda.py SITE_PACKAGES. The loader wants each library that torch was linked against to exist, with the symbol
versions and the symbols it names. A stub has just these; each function reports failure if it is called, which
only happens after asking for a GPU.
"""

import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# Libraries that are not installed (see overrides.txt) -> how the names of their functions begin.
PREFIXES = {
    "libcublas.so.13": "cublas",
    "libcublasLt.so.13": "cublasLt",
    "libcudnn.so.9": "cudnn",
    "libcufft.so.12": "cufft",
    "libcufile.so.0": "cuFile",
    "libcurand.so.10": "curand",
    "libcusolver.so.12": "cusolver",
    "libcusparse.so.12": "cusparse",
    "libcusparseLt.so.0": "cusparseLt",
    "libnccl.so.2": "nccl",
    "libnvrtc.so.13": "nvrtc",
    "libnvshmem_host.so.3": "nvshmem",
}


def undefined(library: Path) -> list[tuple[str, str]]:
    """Return the symbols a library takes from others, each with its version or an empty string."""
    table = subprocess.run(
        ["nm", "--dynamic", "--undefined-only", str(library)], capture_output=True, text=True, check=True
    ).stdout
    symbols = (line.split()[-1].partition("@") for line in table.splitlines())
    return [(name, version.lstrip("@")) for name, _, version in symbols]


def owner_of(name: str, version: str) -> str | None:
    """Say which of the missing libraries a symbol belongs to: its version names it, else the longest prefix does."""
    if version in PREFIXES:
        return version
    matching = [library for library, prefix in PREFIXES.items() if name.startswith(prefix)]
    return max(matching, key=lambda library: len(PREFIXES[library]), default=None)


def write_stub(library: str, symbols: dict[str, str], folder: Path) -> None:
    """Compile one stub.

    Parameters
    ----------
    library
        Its file name and SONAME.
    symbols
        Names of its functions, with their versions.
    folder
        Where it goes.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stub.c"), Path(scratch, "stub.map")
        source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in sorted(symbols)))
        versions = set(symbols.values()) - {""}
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in versions))
        flags = [f"-Wl,--version-script={script}"] if versions else []
        command = ["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{library}", *flags]
        subprocess.run([*command, "-o", str(folder / library), str(source)], check=True)


def main(site_packages: Path) -> None:
    """Write all stubs into torch's own library folder, where its loader looks first."""
    folder = site_packages / "torch" / "lib"
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for library in folder.glob("*.so"):
        for name, version in undefined(library):
            owner = owner_of(name, version)
            if owner:
                wanted[owner][name] = version
    for library in PREFIXES:
        write_stub(library, wanted[library], folder)
        print(f"{library}: {len(wanted[library])} functions", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
