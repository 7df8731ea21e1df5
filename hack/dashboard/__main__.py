"""Draw the picture of the dashboard into docs/images: ``make dashboard-picture``."""

import json
import subprocess
import tempfile
from pathlib import Path

from hack.dashboard.day import HOURS, SCRAPE_S, export
from hack.dashboard.picture import draw
from hack.dashboard.source import DASHBOARD, PICTURE
from tests.cluster import packages
from tests.simulation.clock import START
from tests.system.prometheus import PrometheusServer


def main(file: Path) -> None:
    """Play the story, let Prometheus answer the dashboard's queries, and draw."""
    start = START.timestamp()
    with tempfile.TemporaryDirectory() as folder:
        server, samples = PrometheusServer(Path(folder)), Path(folder, "samples")
        with samples.open("w") as text:
            text.writelines(export())
        make = ("tsdb", "create-blocks-from", "openmetrics", "--quiet")
        subprocess.run([packages.prometheus("promtool"), *make, samples, server.data], check=True)
        try:
            server.start({}, "--storage.tsdb.retention.time=100y", f"--query.lookback-delta={1.5 * SCRAPE_S:.0f}s")
            draw(json.loads(DASHBOARD.read_text()), server, start, start + HOURS * 3600, file)
        finally:
            server.stop()


main(PICTURE)
