"""A supervised process ends when its supervisor is gone, however that ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

__all__ = ["end_with_parent"]

_GRACE_SECONDS = 8.0


def end_with_parent() -> None:
    """Watch standard input, whose other end the supervisor holds; end when that closes.

    The kernel closes it however the supervisor dies, SIGKILL included.  This process then gets
    the SIGTERM that the supervisor could not send, and is ended after 8 s if it does not obey.
    """
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    try:
        while os.read(sys.stdin.fileno(), 4096):
            pass
    except OSError:
        pass  # no way to watch is as good as no parent
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
