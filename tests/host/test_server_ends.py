"""A server ends with the process that started it, even if that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import with_parent

ROOT = Path(__file__).parents[2]
SERVER = """
import sys, time
from pathlib import Path
from demo.server import ComfyServer
with ComfyServer(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""
SCRIPT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STARTER = f"""
import subprocess, sys, time
line = [sys.executable, {with_parent.__file__!r}, sys.argv[1]]
script = subprocess.Popen(line, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(
        f"/proc/{pid}/stat"
    )  # where there is such a file, what has ended but was not asked for counts as ended
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def ends(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_script_and_what_it_started_end_with_their_parent(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(script)], stdout=subprocess.PIPE, text=True)
    child = int(starter.stdout.readline())
    assert is_alive(child)
    os.kill(starter.pid, number)
    starter.wait()
    assert ends(child)


def test_a_server_ends_with_its_parent(tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    server = int(starter.stdout.readline())
    assert is_alive(server)
    starter.kill()
    starter.wait()
    assert ends(server)
