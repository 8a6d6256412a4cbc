"""A real ComfyUI server with this pack in it, and a client of its API."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import requests

from hyperlora_core.comfy.client import ComfyClient

from . import with_parent
from .comfyui import comfyui

PACK = Path(__file__).parent.parent
PACK_NAME = "ComfyUI-HyperLoRA"

Prompt = Mapping[str, Any]
Event = Mapping[str, Any]


class ServerError(RuntimeError):
    """The server did not start, or went away."""


class PromptRejectedError(RuntimeError):
    """The server refused a prompt before it ran.

    Attributes:
        answer: the server's JSON, with ``error`` and ``node_errors``.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(json.dumps(answer, indent=1))
        self.answer = answer


class ExecutionError(RuntimeError):
    """A node failed.

    Attributes:
        node_type: the node's class.
        message: what it said.
        exception_type: the exception's class, as ComfyUI names it.
    """

    def __init__(self, node_type: str, message: str, exception_type: str) -> None:
        super().__init__(f"{node_type}: {message}")
        self.node_type = node_type
        self.message = message
        self.exception_type = exception_type


@dataclass
class Result:
    """What a prompt gave.

    Attributes:
        outputs: node number -> the node's UI outputs.
        seconds: node number -> how long it ran; nodes that came from ComfyUI's cache are absent.
    """

    outputs: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


class ComfyServer:
    """ComfyUI on a free port of this machine; a context manager. It ends when this process does, however that ends.

    Args:
        base: its base directory: input, output, temp, user and custom_nodes are below it.
        models: a ``models`` folder for it to find models in, or None.
        arguments: more of ComfyUI's command line.
        cpu: compute on the CPU.
        environment: more environment variables.
    """

    def __init__(
        self,
        base: Path,
        models: Path | None = None,
        arguments: Sequence[str] = (),
        cpu: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base
        self.models = models
        self.log = base / "server.log"
        self.output = base / "output"
        self._arguments = [*(["--cpu"] if cpu else []), *arguments]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "ComfyServer":
        custom_nodes = self.base / "custom_nodes"
        custom_nodes.mkdir(parents=True, exist_ok=True)
        link = custom_nodes / PACK_NAME
        if not link.exists():
            link.symlink_to(PACK, target_is_directory=True)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, with_parent.__file__, "main.py", "--listen", "127.0.0.1", "--port", str(port)]
        command += ["--base-directory", str(self.base), "--disable-auto-launch", "--disable-api-nodes"]
        if self.models is not None:
            command += ["--extra-model-paths-config", str(self._write_model_paths(self.models))]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} | self._environment
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                cwd=comfyui(),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        if self.alive:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def _write_model_paths(self, models: Path) -> Path:
        keys = sorted(path.name for path in models.iterdir() if path.is_dir())
        lines = ["demo:", f"  base_path: {json.dumps(str(models))}", *(f"  {key}: {key}" for key in keys)]
        path = self.base / "extra_model_paths.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _wait_until_up(self, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise ServerError(f"ComfyUI stopped while starting:\n{self.log_tail()}")
            try:
                if requests.get(f"{self.url}/system_stats", timeout=5).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise ServerError(f"ComfyUI did not start within {seconds:.0f} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def object_info(self, node_id: str = "") -> dict[str, Any]:
        """The server's description of its nodes, or of one node: its ``/object_info``."""
        return ComfyClient(self.url).object_info(node_id)

    def upload(self, path: Path, name: str | None = None) -> str:
        """Upload a picture into the input folder; returns the name that LoadImage takes."""
        return ComfyClient(self.url).upload(path, name)

    def view(self, image: Mapping[str, str]) -> bytes:
        """The bytes of a picture that a prompt's outputs name."""
        return ComfyClient(self.url).view(image)

    def interrupt(self) -> None:
        """Stop the running prompt."""
        requests.post(f"{self.url}/interrupt", timeout=60).raise_for_status()

    def history(self, prompt_id: str) -> dict[str, Any]:
        """The server's history entry of a prompt; empty until the prompt has ended."""
        return requests.get(f"{self.url}/history/{prompt_id}", timeout=60).json().get(prompt_id, {})

    def run(self, prompt: Prompt, on_event: Callable[[Event], None] | None = None, timeout: float = 600) -> Result:
        """Queue a prompt and wait for its end.

        Args:
            prompt: in the API format.
            on_event: called with each of the server's messages about it.
            timeout: seconds.

        Raises:
            PromptRejectedError: it was refused.
            ExecutionError: a node failed.
            ServerError: it was interrupted, or did not end in time.
        """
        return asyncio.run(asyncio.wait_for(self._run(prompt, on_event), timeout))

    async def _run(self, prompt: Prompt, on_event: Callable[[Event], None] | None) -> Result:
        client = uuid.uuid4().hex
        result = Result({})
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as socket,
        ):
            async with session.post(f"{self.url}/prompt", json={"prompt": prompt, "client_id": client}) as response:
                answer = await response.json()
                if response.status != 200:
                    raise PromptRejectedError(answer)
            running, since = None, time.monotonic()
            async for message in socket:
                if message.type != aiohttp.WSMsgType.TEXT:
                    continue
                event = json.loads(message.data)
                kind, data = event["type"], event["data"]
                if data.get("prompt_id") != answer["prompt_id"]:
                    continue
                if on_event is not None:
                    on_event(event)
                if kind in ("executing", "execution_success", "execution_error"):
                    now = time.monotonic()
                    if running is not None:
                        result.seconds[running] = result.seconds.get(running, 0.0) + now - since
                    running, since = data.get("node"), now
                if kind == "executed":
                    result.outputs[data["node"]] = data["output"]
                elif kind == "execution_error":
                    message_text = data["exception_message"].strip()
                    raise ExecutionError(data["node_type"], message_text, data["exception_type"])
                elif kind == "execution_interrupted":
                    raise ServerError("the prompt was interrupted")
                elif kind == "execution_success":
                    return result
        raise ServerError(f"ComfyUI went away:\n{self.log_tail()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
