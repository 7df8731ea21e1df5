"""Changes SkyPilot while the image is built: a worker lets go of locks that a cancelled request has left locked.

SkyPilot cancels a request by a signal whose handler raises KeyboardInterrupt wherever the worker's main thread is. In
Python before 3.13 that can be between the moment in which ``logging`` has taken a lock and the ``try`` that gives it
back. The main thread owns the lock then, and goes on with the next request, in which every other thread that logs waits
for ever: each launch of that worker hangs before it has begun. Between two requests the main thread owns no lock, so
whatever it owns there was left.
"""

import sys
from pathlib import Path

EXECUTOR = "sky/server/requests/executor.py"
BEFORE = "    logger.info(f'Running request {request_id} with pid {pid}')\n"
CALL = "    _release_locks_of_cancelled_request()\n"
ABOVE = "def _request_execution_wrapper(request_id: str,\n"
FUNCTION = '''\
def _release_locks_of_cancelled_request() -> None:
    """Release locks of `logging` that a cancelled request left locked."""
    import logging  # pylint: disable=import-outside-toplevel
    handlers = [reference() for reference in logging._handlerList]
    for lock in [logging._lock, *(getattr(one, 'lock', None) for one in handlers)]:
        while lock is not None and lock._is_owned():
            lock.release()


'''


def main() -> None:
    """Change the file below the folder that is given, or fail if it is not what is expected."""
    file = Path(sys.argv[1]) / EXECUTOR
    text = file.read_text(encoding="utf-8")
    for found in (BEFORE, ABOVE):
        if text.count(found) != 1 or CALL in text:
            sys.exit(f"{file} is not what was expected; does it still need this change? It has no single {found!r}")
    file.write_text(text.replace(ABOVE, FUNCTION + ABOVE).replace(BEFORE, CALL + BEFORE), encoding="utf-8")


if __name__ == "__main__":
    main()
