"""``hyperlora batch``: its arguments, and what they run."""

import argparse
import logging
from pathlib import Path

from ..comfy.client import SERVER
from ..comfy.jobs import jobs_of, read_people, read_seeds, with_readable_photos
from ..comfy.manifest import MANIFEST
from ..comfy.queue import Batch, Options
from ..comfy.tasks import Task
from ..comfy.workflows import read_workflow
from ..errors import HyperLoRAError

log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument(
        "people",
        type=Path,
        metavar="PEOPLE",
        help="a folder with a folder of photos for each person, or a .csv with the columns person, photos (; between), "
        "prompt, seed, and any 'node.input'",
    )
    command.add_argument(
        "--workflow", type=Path, required=True, metavar="FILE", help="in the API format, as example_workflows/api has"
    )
    command.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help=f"a running ComfyUI; give it again for each ({SERVER})",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="pictures and manifest.jsonl go here")
    command.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="give it again for each prompt")
    command.add_argument("--prompts", type=Path, metavar="FILE", help="prompts, one a line")
    command.add_argument("--seeds", default="", metavar="LIST", help="as 1,2,3 or 1-20; the workflow's own otherwise")
    command.add_argument("--retries", type=int, default=3, metavar="N", help="when a server goes away (%(default)s)")
    command.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds a picture (%(default)s)")


def _run(options: argparse.Namespace) -> int:
    prompts = list(options.prompt)
    if options.prompts is not None:
        if not options.prompts.is_file():
            raise HyperLoRAError(f"there is no file of prompts {options.prompts}")
        prompts += filter(None, map(str.strip, options.prompts.read_text(encoding="utf-8-sig").splitlines()))
    people, left_out = with_readable_photos(read_people(options.people))
    jobs = jobs_of(people, prompts, read_seeds(options.seeds))
    servers = options.server or [SERVER]
    workflow = read_workflow(options.workflow)
    batch = Batch(
        [Task(workflow, job) for job in jobs], Options(servers, options.out, options.retries, options.timeout)
    )
    log.info("%d to draw, %d are there already", len(batch.pending), len(batch.tasks) - len(batch.pending))
    failed = batch.run()
    for entry in failed:
        log.error("failed: %s, prompt %r, seed %s: %s", *(entry[key] for key in ("person", "prompt", "seed", "error")))
    for person, why in left_out.items():
        log.error("left out: %s: %s", person, why)
    log.info("%d of %d are in %s", len(batch.tasks) - len(failed), len(batch.tasks), options.out / MANIFEST)
    return 1 if failed or left_out else 0
