"""The tests on real ComfyUIs of several releases, each with its own packages, and the table of how they went.

``make test-hosts``: what reaches ComfyUI's insides on every release, and what is seen in the browser on the oldest
front end and on the newest.
"""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from demo import comfyui
from demo.cache import SetupError, build_once
from demo.photos import photos
from demo.server import PACK

from .models import demo_models

FRONT_END = "1.58.1"  # the newest of comfyui-frontend-package
_FRONT_END = "comfyui-frontend-package"
_HOST, _BROWSER = "tests/host", "tests/browser"
TABLE = PACK / "docs" / "COMPATIBILITY.md"
BEGIN, END = "<!-- make test-hosts -->", "<!-- end -->"
_HEAD = (f"| ComfyUI | front end | `{_HOST}` | `{_BROWSER}` |", "|---|---|---|---|")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """A ComfyUI, the packages that it asks for, and what is tested on it.

    Attributes:
        folder: where it lies.
        version: its release.
        front_end: the version of its front end; its own, or a newer one.
        tests: folders of tests.
    """

    folder: Path
    version: str
    front_end: str
    tests: tuple[str, ...]

    def requirements(self) -> list[str]:
        """What it needs beside torch, with this front end."""
        packages = [line for line in comfyui.requirements(self.folder) if not line.startswith(_FRONT_END)]
        return [f"{_FRONT_END}=={self.front_end}", *packages]


def hosts(versions: Sequence[str] = ()) -> list[Host]:
    """The releases that a package carries, and the newest with a newer front end; or ``$COMFYUI_PATH`` alone.

    Args:
        versions: of these releases only.

    Raises:
        SetupError: one of these is unknown, or a ComfyUI cannot be had.
    """
    if os.environ.get("COMFYUI_PATH"):
        return [_host(comfyui.comfyui(), _HOST, _BROWSER)]
    unknown = set(versions) - set(comfyui.RELEASES)
    if unknown:
        raise SetupError(f"HOSTS names {', '.join(sorted(unknown))}; there are {', '.join(comfyui.RELEASES)}")
    oldest, newest = comfyui.RELEASES[0], comfyui.RELEASES[-1]
    selected = []
    for version in versions or comfyui.RELEASES:
        folder = comfyui.release(version)
        selected.append(_host(folder, _HOST, *([_BROWSER] if version == oldest else [])))
        if version == newest:
            selected.append(Host(folder, version, FRONT_END, (_BROWSER,)))
    return selected


def _host(folder: Path, *tests: str) -> Host:
    (front_end,) = (line for line in comfyui.requirements(folder) if line.startswith(f"{_FRONT_END}=="))
    return Host(folder, comfyui.version_of(folder), front_end.partition("==")[2], tests)


@dataclass(frozen=True)
class Outcome:
    """How many tests went how."""

    passed: int
    skipped: int
    failed: int

    def __str__(self) -> str:
        words = [f"{self.passed} passed"]
        words += [f"{self.skipped} skipped"] if self.skipped else []
        words += [f"**{self.failed} failed**"] if self.failed else []
        return ", ".join(words)


def environment(host: Host) -> Path:
    """The Python of a host's own environment: this one's packages below, and above them what the host has otherwise."""
    needed = "\n".join(host.requirements())
    key = hashlib.sha256(f"{sys.prefix}\n{needed}".encode()).hexdigest()[:10]

    def build(folder: Path) -> None:
        venv.create(folder, symlinks=True)
        own, below = (sysconfig.get_path("purelib", vars={"base": base}) for base in (str(folder), sys.prefix))
        Path(own, "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        (folder / "requirements.txt").write_text(needed)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
        options = ["--disable-pip-version-check", "--requirement", str(folder / "requirements.txt")]
        result = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
        if result.returncode:
            raise SetupError(f"ComfyUI {host.version}'s packages cannot be installed:\n{result.stderr}")

    return build_once(f"host-{host.version}-{key}", build) / "bin" / "python"


def run(host: Host, tests: str) -> Outcome:
    """Run a folder of tests on a host, its output to the terminal.

    Raises:
        SetupError: the tests did not come to an end.
    """
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary, "report.xml")
        command = [str(environment(host)), "-m", "pytest", "-q", "-n", "2", "-m", "not slow", tests]
        variables = {"COMFYUI_PATH": str(host.folder), "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, f"--junitxml={report}"], env=os.environ | variables, check=False)
        if not report.is_file():
            raise SetupError(f"the tests on ComfyUI {host.version} did not come to an end")
        (suite,) = ElementTree.parse(report).getroot()
    total, skipped, *wrong = (int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors"))
    return Outcome(total - skipped - sum(wrong), skipped, sum(wrong))


def put_into_table(host: Host, results: Mapping[str, Outcome]) -> None:
    """Put a host's row into the table of ``docs/COMPATIBILITY.md``; the other rows stay."""
    before, _, tail = TABLE.read_text().partition(BEGIN)
    rows, _, after = tail.partition(END)
    name = f"| {host.version} | {host.front_end} |"
    kept_rows = [row for row in rows.strip().splitlines()[len(_HEAD) :] if not row.startswith(name)]
    row = f"{name} {' | '.join(str(results.get(tests, '')) for tests in (_HOST, _BROWSER))} |"
    lines = [*_HEAD, *sorted([*kept_rows, row], key=_release)]
    TABLE.write_text("\n".join([before + BEGIN, *lines, END + after]))


def _release(row: str) -> list[tuple[int, ...]]:
    versions = [cell.strip() for cell in row.split("|")[1:3]]
    return [tuple(int(part) for part in version.split(".") if part.isdecimal()) for version in versions]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="*", help="releases of ComfyUI; all without any")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        tested = hosts(args.versions)
        os.environ.pop("COMFYUI_PATH", None)
        photos()
        demo_models()  # what is made once is made in the main environment, on the newest release
        went = []
        for host in tested:
            results = {tests: run(host, tests) for tests in host.tests}
            put_into_table(host, results)
            went += results.values()
        log.info("%s", TABLE.read_text().partition(BEGIN)[2].partition(END)[0].strip())
    except SetupError as error:
        sys.exit(str(error))
    sys.exit(any(outcome.failed for outcome in went))


if __name__ == "__main__":
    main()
