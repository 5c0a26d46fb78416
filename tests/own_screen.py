"""A virtual screen for each further process of ``pytest -n``: two that share one take the keyboard from each other."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys

XVFB = shutil.which("Xvfb") if os.environ.get("DISPLAY") else None


def take_own_screen(size: str = "1600x1000x24") -> None:
    """Start an Xvfb for this process and name it in ``DISPLAY``; the first process keeps the screen it was given."""
    if XVFB is None or os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        return
    readable, writable = os.pipe()
    screen = subprocess.Popen(
        [XVFB, "-displayfd", str(writable), "-screen", "0", size, "-nolisten", "tcp"],
        pass_fds=[writable],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    atexit.register(screen.kill)
    os.close(writable)
    with os.fdopen(readable) as number:  # the server writes its number when it is ready, and closes when it fails
        display = number.readline().strip()
    if not display:
        raise RuntimeError(f"{XVFB} did not start; run the tests with -n 1 or -n 0")
    os.environ["DISPLAY"] = f":{display}"
    os.environ.pop("XAUTHORITY", None)  # of the other screen


def _end_with_parent() -> None:
    """Ask Linux to end this process with the one that started it, which a crash may end without its clean-up."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
