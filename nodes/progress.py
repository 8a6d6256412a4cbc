"""Progress, interruption and remarks, as the core is told of them."""

import logging
from collections.abc import Callable

import comfy.model_management
from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context
from server import PromptServer

log = logging.getLogger(__name__)


def photo_progress(photos: int) -> Callable[[int], None]:
    """A callback for each photo done: moves the node's bar, and stops where the user pressed Cancel."""
    bar = ProgressBar(photos)

    def done(number: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(number)

    return done


class Remarks(list[str]):
    """What a node has to say that is no error: in the log, on the node, and, as its ``text``, in the history."""

    def __call__(self, remark: str) -> None:
        """Say one more."""
        self.append(remark)
        log.warning("HyperLoRA: %s", remark)
        context, server = get_executing_context(), PromptServer.instance
        if context is not None and server.client_id is not None:
            server.send_progress_text("\n\n".join(self), context.node_id, server.client_id)

    def ui(self, ui: dict | None = None) -> dict:
        """A node's UI output with the remarks in it."""
        return {**(ui or {}), **({"text": list(self)} if self else {})}
