"""Command line of the test cluster: ``python -m tests.cluster --help``."""

import sys

from tests.cluster import select
from tests.cluster.api import ClusterError

c = select(sys.argv[2] if len(sys.argv) > 2 else "dsd-test")
try:
    if sys.argv[1] == "up": c.up()
    elif sys.argv[1] == "down": c.down()
    elif sys.argv[1] == "status": print(c.health())
except ClusterError as e:
    print(e, file=sys.stderr); sys.exit(1)
