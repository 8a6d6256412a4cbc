"""The nodes that keep identities and sliders as files, below ``models/hyper_lora``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ..hyperlora_core.faces.image_tensors import to_images
from ..hyperlora_core.files import stamp
from ..hyperlora_core.identity.file import load_identity, save_identity
from ..hyperlora_core.identity.slider import Slider
from ..hyperlora_core.identity.value import Identity
from .cards import identity_card
from .host.folders import IDENTITIES, SLIDERS, keeping_folder, kept_file, kept_files
from .host.progress import Remarks
from .host.saving import path_to_save
from .host.sockets import CATEGORY, IdentitySocket, SliderSocket


def _save_inputs(default_name: str) -> list[io.Input]:
    return [
        io.String.Input(
            "name", default=default_name, tooltip="The file's name; folders may stand in it, as friends/anna."
        ),
        io.Boolean.Input(
            "overwrite",
            default=False,
            tooltip="On: the file has just this name, and one that is there is replaced. Off: a number is added.",
        ),
    ]


def _save(
    kind: str, name: str, overwrite: bool, write: Callable[[Path], Any], card: dict[str, Any] | None = None
) -> io.NodeOutput:
    """Write a file of a kind, and return its name as the load node takes it."""
    root = keeping_folder(kind)
    root.mkdir(parents=True, exist_ok=True)
    path = path_to_save(name, root, "person", overwrite)
    write(path)
    saved_name = os.path.relpath(path, root).replace(os.sep, "/")
    return io.NodeOutput(saved_name, ui={"text": [str(path)], **(card or {})})


def _file_stamp(kind: str, name: str | None) -> object:
    path = kept_files(kind).get(name or "")
    return stamp([path]) if path else name


class HyperLoRASaveIdentity(io.ComfyNode):
    """Keep a person as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRASaveIdentity",
            display_name="HyperLoRA Save Identity",
            category=CATEGORY,
            description="Keeps a person as a small file under models/hyper_lora/identities: no photo is needed again, "
            "and it can still be mixed, blended and weighed. It is a person's likeness: share it as you would share "
            "their photos.",
            search_aliases=["save face", "save embeds", "face model"],
            is_output_node=True,
            inputs=[
                IdentitySocket.Input("identity", tooltip="From Encode Identity, Encode Base, Mix Photos or Blend."),
                *_save_inputs("person"),
            ],
            outputs=[io.String.Output(display_name="identity_name", tooltip="As Load Identity lists it.")],
        )

    @classmethod
    def execute(cls, identity: Identity, name: str, overwrite: bool) -> io.NodeOutput:
        if identity.id_rows is None and identity.base_rows is None:  # bypassed: the queue goes on
            remarks = Remarks()
            remarks("nothing was saved: this identity is empty, for no photo with a face was left")
            return io.NodeOutput(ExecutionBlocker(None), ui=remarks.ui())
        card = identity_card(identity, cls)
        return _save(IDENTITIES, name, overwrite, lambda path: save_identity(identity, path), card)


class HyperLoRALoadIdentity(io.ComfyNode):
    """A person out of a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRALoadIdentity",
            display_name="HyperLoRA Load Identity",
            category=CATEGORY,
            description="A person whom HyperLoRA Save Identity kept. It fits the HyperLoRA that it was made with.",
            search_aliases=["load face", "load embeds", "face model"],
            inputs=[
                io.Combo.Input(
                    "identity_name",
                    options=sorted(kept_files(IDENTITIES)),
                    tooltip="A file under models/hyper_lora/identities.",
                )
            ],
            outputs=[
                IdentitySocket.Output(display_name="identity"),
                io.Image.Output(display_name="thumbnail", tooltip="The face on the first photo."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, identity_name: str | None = None) -> object:
        return _file_stamp(IDENTITIES, identity_name)

    @classmethod
    def execute(cls, identity_name: str) -> io.NodeOutput:
        identity = load_identity(kept_file(IDENTITIES, identity_name))
        card, nothing = identity_card(identity, cls), ExecutionBlocker(None)
        picture = to_images([identity.thumbnail]) if identity.thumbnail is not None else nothing
        return io.NodeOutput(identity, picture, ui=card)


class HyperLoRASaveSlider(io.ComfyNode):
    """Keep a slider as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRASaveSlider",
            display_name="HyperLoRA Save Slider",
            category=CATEGORY,
            description="Keeps a slider as a file under models/hyper_lora/sliders, with both sides of each pair.",
            search_aliases=["concept slider"],
            is_output_node=True,
            inputs=[SliderSocket.Input("slider", tooltip="From HyperLoRA Make Slider."), *_save_inputs("slider")],
            outputs=[io.String.Output(display_name="slider_name", tooltip="As Load Slider lists it.")],
        )

    @classmethod
    def execute(cls, slider: Slider, name: str, overwrite: bool) -> io.NodeOutput:
        return _save(SLIDERS, name, overwrite, slider.save)


class HyperLoRALoadSlider(io.ComfyNode):
    """A slider out of a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRALoadSlider",
            display_name="HyperLoRA Load Slider",
            category=CATEGORY,
            description="A slider that HyperLoRA Save Slider kept. It fits the HyperLoRA that it was made with.",
            search_aliases=["concept slider"],
            inputs=[
                io.Combo.Input(
                    "slider_name",
                    options=sorted(kept_files(SLIDERS)),
                    tooltip="A file under models/hyper_lora/sliders.",
                )
            ],
            outputs=[SliderSocket.Output(display_name="slider")],
        )

    @classmethod
    def fingerprint_inputs(cls, slider_name: str | None = None) -> object:
        return _file_stamp(SLIDERS, slider_name)

    @classmethod
    def execute(cls, slider_name: str) -> io.NodeOutput:
        return io.NodeOutput(Slider.load(kept_file(SLIDERS, slider_name)))
