"""Keeps every frame that passes the links of a network namespace, by link, until SIGTERM: ``python sniff.py FOLDER``.

It is what somebody on the way sees. Nothing but Python's standard library, because it is entered by nsenter.
"""

import signal
import socket
import sys
from collections import defaultdict
from pathlib import Path

ALL_PROTOCOLS = 3
"""ETH_P_ALL: incoming and outgoing frames."""


def main() -> None:
    """Write one file for each link at the end."""
    folder = Path(sys.argv[1])
    seen: dict[str, bytearray] = defaultdict(bytearray)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))

    def end(*_: object) -> None:
        for link, frames in seen.items():
            (folder / link).write_bytes(frames)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("listening", flush=True)
    while True:
        frame, (link, *_) = raw.recvfrom(65_536)
        seen[link] += frame


if __name__ == "__main__":
    main()
