"""``python with_parent.py SCRIPT ARGUMENTS``: run a script for as long as the process lives that started it.

That process keeps the other end of standard input open, and says nothing there. However it ends, the system closes that
end, and the script and what it started end too: they are a process group of their own.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent.resolve())
    runpy.run_path(sys.argv[0], run_name="__main__")
