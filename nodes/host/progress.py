"""Progress bars, interruption and remarks: callbacks for the core, and messages to the editor."""

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


def stage(name: str, **values: int) -> None:
    """Tell the editor which stage the running node is in: one of ``STAGES`` in ``web/results.js``."""
    server, context = getattr(PromptServer, "instance", None), get_executing_context()
    if server is not None and context is not None:
        server.send_sync("hyperlora.stage", {"node": context.node_id, "stage": name, **values}, server.client_id)


def remark_now(remark: str) -> None:
    """A remark that is no error, in the log and, at once, in the editor; the running node need not be ours."""
    log.warning("HyperLoRA: %s", remark)
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_sync("hyperlora.remark", {"remark": remark}, server.client_id)


class Remarks(list[str]):
    """A node's remarks that are no errors: in the log, the history and, by ``web/notices.js``, the editor.

    Args:
        found_by: what found faces, for the node's badge.
    """

    def __init__(self, found_by: str = "") -> None:
        super().__init__()
        self._found_by = found_by

    def __call__(self, remark: str) -> None:
        """Add a remark."""
        self.append(remark)
        log.warning("HyperLoRA: %s", remark)

    def ui(self, ui: dict | None = None) -> dict:
        """A node's UI output with the remarks in it."""
        entries = {"remarks": list(self), "hyperlora_found_by": [self._found_by] if self._found_by else []}
        return {**(ui or {}), **{key: value for key, value in entries.items() if value}}
