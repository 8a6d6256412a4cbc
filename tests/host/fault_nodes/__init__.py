"""Nodes for the tests: pictures that no healthy node makes, and a look at a LoRA from inside the server."""

import comfy.model_management
import torch
from comfy_api.latest import ComfyExtension, io


class FaultyImage(io.ComfyNode):
    """An IMAGE with a fault."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestFaultyImage",
            inputs=[io.Combo.Input("fault", options=["nan", "empty", "no batch", "channels"])],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, fault: str) -> io.NodeOutput:
        picture = torch.full((1, 64, 64, 3), 0.5)
        if fault == "nan":
            picture[0, 3, 4, 1] = torch.nan
        shapes = {"empty": (1, 0, 64, 3), "no batch": (0, 64, 64, 3), "channels": (1, 64, 64, 7)}
        return io.NodeOutput(torch.zeros(shapes[fault]) if fault in shapes else picture)


class LoadedModels(io.ComfyNode):
    """Which models ComfyUI holds on its device."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestLoadedModels", inputs=[io.Int.Input("nonce")], outputs=[io.Int.Output()], is_output_node=True
        )

    @classmethod
    def execute(cls, nonce: int) -> io.NodeOutput:
        loaded = comfy.model_management.current_loaded_models
        names = [type(entry.model.model).__name__ for entry in loaded if entry.model is not None]
        return io.NodeOutput(nonce, ui={"text": names})


class ForeignLora(io.ComfyNode):
    """A LoRA of another kind, as a training node gives it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="TestForeignLora", outputs=[io.Custom("LORA_MODEL").Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput({"diffusion_model.out.2.diff": torch.zeros(4, 320, 3, 3)})


class FaultExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [FaultyImage, LoadedModels, ForeignLora]


async def comfy_entrypoint() -> ComfyExtension:
    return FaultExtension()
