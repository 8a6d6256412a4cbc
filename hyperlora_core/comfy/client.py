"""A client of ComfyUI's HTTP API: queue a workflow, wait for its end, take the pictures."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError, MissingPackageError

Workflow = dict[str, dict[str, Any]]

SERVER = "http://127.0.0.1:8188"
"""ComfyUI's default address."""

_POLL = 0.4  # seconds between two requests for a prompt's result


class UnreachableError(HyperLoRAError):
    """The server does not answer, or lost the prompt: a retry, here or on another server, may succeed."""


class RefusedError(HyperLoRAError):
    """The server refused a workflow, or one of its nodes failed: a retry would fail too."""


@dataclass(frozen=True)
class Ended:
    """The result of a prompt that succeeded.

    Attributes:
        outputs: node number -> the node's UI outputs, such as ``{"images": [...]}``.
    """

    outputs: dict[str, Any] = field(default_factory=dict)

    def pictures(self) -> list[dict[str, str]]:
        """The pictures saved in the output folder, in the order of the nodes; each as ``ComfyClient.view`` takes it."""
        images = (image for output in self.outputs.values() for image in output.get("images", ()))
        return [image for image in images if image.get("type") == "output"]


class ComfyClient:
    """One ComfyUI server.

    Args:
        url: as ``SERVER``.
        timeout: seconds to wait for one answer.

    Attributes:
        client_id: sent with each prompt; its events go to the client of that id, see ``ComfyEvents``.
    """

    def __init__(self, url: str, timeout: float = 60) -> None:
        try:
            import requests
        except ImportError as error:
            raise MissingPackageError("talking to ComfyUI needs requests: pip install requests") from error
        self.url = url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}"
        self.client_id = uuid.uuid4().hex
        self._timeout = timeout
        self._requests = requests

    def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            response = self._requests.request(method, f"{self.url}{path}", timeout=self._timeout, **kwargs)
        except self._requests.RequestException as error:
            raise UnreachableError(f"ComfyUI at {self.url} does not answer ({type(error).__name__})") from error
        if response.status_code >= 500:
            raise UnreachableError(f"ComfyUI at {self.url} answers {response.status_code} to {path}")
        return response

    def alive(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self._ask("GET", "/system_stats").ok)
        except UnreachableError:
            return False

    def object_info(self, node_id: str = "") -> dict[str, Any]:
        """The schemas of the server's nodes, or of one node."""
        return self._ask("GET", f"/object_info/{node_id}".rstrip("/")).json()

    def host(self) -> dict[str, str]:
        """What computes: versions of ComfyUI and PyTorch, and the first device's name."""
        stats = self._ask("GET", "/system_stats").json()
        system, devices = stats.get("system", {}), stats.get("devices") or [{}]
        return {
            "comfyui": str(system.get("comfyui_version", "")),
            "pytorch": str(system.get("pytorch_version", "")),
            "device": str(devices[0].get("name", "")),
        }

    def memory(self) -> int | None:
        """Bytes of the first device's memory in use by all processes; None where the server computes on a CPU."""
        devices = self._ask("GET", "/system_stats").json().get("devices") or [{}]
        if devices[0].get("type", "cpu") == "cpu":
            return None
        return int(devices[0]["vram_total"]) - int(devices[0]["vram_free"])

    def free(self) -> None:
        """Have the server unload its models and clear its cache of results."""
        self._ask("POST", "/free", json={"unload_models": True, "free_memory": True})

    def upload(self, path: Path, name: str | None = None) -> str:
        """Send a picture into the input folder, in place of one of the same name.

        Returns:
            The name that LoadImage takes.
        """
        with path.open("rb") as file:
            files = {"image": (name or path.name, file)}
            response = self._ask("POST", "/upload/image", files=files, data={"overwrite": "true"})
        if not response.ok:
            raise RefusedError(f"ComfyUI at {self.url} does not take {path} ({response.status_code})")
        answer = response.json()
        return "/".join(filter(None, (answer.get("subfolder"), answer["name"])))

    def queue(self, workflow: Workflow) -> str:
        """Queue a workflow in the API format.

        Returns:
            The prompt's id.

        Raises:
            RefusedError: with every node's complaint.
            UnreachableError: the server does not answer.
        """
        response = self._ask("POST", "/prompt", json={"prompt": workflow, "client_id": self.client_id})
        answer = response.json()
        if not response.ok:
            raise RefusedError(_complaints(answer, workflow))
        return answer["prompt_id"]

    def ended(self, prompt_id: str) -> Ended | None:
        """The result of a prompt; None while it waits or runs.

        Raises:
            RefusedError: a node failed, with the node's own message.
            UnreachableError: the server does not know it, was interrupted, or does not answer.
        """
        entry = self._ask("GET", f"/history/{prompt_id}").json().get(prompt_id)
        if entry is None:
            queue = self._ask("GET", "/queue").json()
            prompt_ids = [item[1] for item in queue.get("queue_running", []) + queue.get("queue_pending", [])]
            if prompt_id in prompt_ids or prompt_id in self._ask("GET", f"/history/{prompt_id}").json():
                return None
            raise UnreachableError(f"ComfyUI at {self.url} knows nothing of the prompt any more: was it restarted?")
        messages = dict(entry.get("status", {}).get("messages", []))
        if "execution_error" in messages:
            failed = messages["execution_error"]
            raise RefusedError(f"{failed['node_type']}: {failed['exception_message'].strip()}")
        if "execution_interrupted" in messages:
            raise UnreachableError(f"the prompt was interrupted on {self.url}")
        return Ended(entry.get("outputs", {}))

    def wait(self, prompt_id: str, timeout: float = 3600, sleep: Callable[[float], None] = time.sleep) -> Ended:
        """Wait for a prompt's end.

        Raises:
            RefusedError, UnreachableError: see ``ended``; or it did not end in time, and was taken out of the queue.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            result = self.ended(prompt_id)
            if result is not None:
                return result
            sleep(_POLL)
        self.drop(prompt_id)
        raise UnreachableError(f"the prompt did not end within {timeout:.0f} s on {self.url}")

    def drop(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, and interrupt it where it runs."""
        self._ask("POST", "/queue", json={"delete": [prompt_id]})
        self._ask("POST", "/interrupt", json={"prompt_id": prompt_id})

    def view(self, image: Mapping[str, str]) -> bytes:
        """The bytes of a picture that a prompt's outputs name."""
        response = self._ask("GET", "/view", params=dict(image))
        if not response.ok:
            raise UnreachableError(f"ComfyUI at {self.url} has no picture {image.get('filename')} any more")
        return response.content


def _complaints(answer: Mapping[str, Any], workflow: Workflow) -> str:
    """Why a workflow was refused, in one sentence a node."""
    lines = [answer.get("error", {}).get("message", "the workflow was refused")]
    for number, errors in (answer.get("node_errors") or {}).items():
        name = workflow.get(number, {}).get("class_type", number)
        lines += [f"{name}: {error['message']} ({error.get('details', '')})" for error in errors.get("errors", [])]
    return "; ".join(lines)
