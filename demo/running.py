"""What the demo's commands share: a check of the models, progress on the terminal, errors as one sentence."""

import logging
import sys
from collections.abc import Callable

from hyperlora_core import HyperLoRAError

from . import workflows
from .cache import SetupError
from .server import ComfyServer, Event, ExecutionError, PromptRejectedError, ServerError

log = logging.getLogger("demo")


def check_models(server: ComfyServer, prompt: workflows.Workflow) -> None:
    """Check that the server has the workflow's models, before anything runs.

    Raises:
        SetupError: one is missing; the message lists those that there are.
    """
    for node_id, name, folder in (
        ("CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
        ("HyperLoRALoadModel", "model", "hyper_lora"),
    ):
        model = prompt[workflows.node(prompt, node_id)]["inputs"][name]
        kind, details = server.object_info(node_id)[node_id]["input"]["required"][name]
        available = details["options"] if kind == "COMBO" else kind
        if model not in available:
            raise SetupError(
                f"{model} is not in the models' {folder} folder. Found there: {', '.join(available) or 'nothing'}. "
                f"Name another with {'CHECKPOINT' if folder == 'checkpoints' else 'HYPERLORA'}="
            )


def show_progress(prompt: workflows.Workflow) -> Callable[[Event], None]:
    """A callback for ``ComfyServer.run`` that logs which node runs and its progress."""

    def on_event(event: Event) -> None:
        data = event["data"]
        if event["type"] == "executing" and data.get("node"):
            log.info("  %s", prompt[data["node"]]["_meta"]["title"])
        elif event["type"] == "progress" and data["max"] > 1:
            log.info("    %d of %d", data["value"], data["max"])

    return on_event


def in_plain_words(work: Callable[[], object]) -> int:
    """Do a command's work; its exit code: 0, 1 with one plain sentence where it cannot be done, 130 by Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logging.getLogger("demo").setLevel(logging.INFO)
    try:
        work()
    except (HyperLoRAError, SetupError, ServerError, PromptRejectedError, OSError) as error:
        log.error("%s", error)
        return 1
    except ExecutionError as error:
        log.error("%s", error.message)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
