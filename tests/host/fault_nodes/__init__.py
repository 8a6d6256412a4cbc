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


class Anything(io.ComfyNode):
    """A value of a wrong type, on an output that fits every socket, as nodes of the type "any" have."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestAnything",
            inputs=[io.Combo.Input("kind", options=list(ANYTHING))],
            outputs=[io.Custom("*").Output()],
        )

    @classmethod
    def execute(cls, kind: str) -> io.NodeOutput:
        return io.NodeOutput(ANYTHING[kind]())


class _Foreign:
    """An object of another pack."""


ANYTHING = {
    "nothing": lambda: None,
    "number": lambda: 7.5,
    "text": lambda: "x" * 100_000,
    "list": lambda: [1, "two"],
    "dict": lambda: {"hyper_lora": _Foreign()},
    "tensor": lambda: torch.zeros(1, 8, 8, 3),
    "object": _Foreign,
    "class": lambda: _Foreign,
}


class LoadedModels(io.ComfyNode):
    """Which models ComfyUI holds on its device."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestLoadedModels", inputs=[io.Int.Input("nonce")], outputs=[io.Int.Output()], is_output_node=True
        )

    @classmethod
    def execute(cls, nonce: int) -> io.NodeOutput:
        models = comfy.model_management.current_loaded_models
        names = [type(entry.model.model).__name__ for entry in models if entry.model is not None]
        return io.NodeOutput(nonce, ui={"text": names})


class ForeignLora(io.ComfyNode):
    """A LoRA of another kind, as a training node gives it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="TestForeignLora", outputs=[io.Custom("LORA_MODEL").Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput({"diffusion_model.out.2.diff": torch.zeros(4, 320, 3, 3)})


class PhotoVAE(io.ComfyNode):
    """A VAE that decodes each latent to one of the given photos, because random models draw no face to judge."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        template = io.Autogrow.TemplatePrefix(io.Image.Input("photo"), prefix="photo", min=1, max=8)
        return io.Schema(
            node_id="TestPhotoVAE", inputs=[io.Autogrow.Input("photos", template=template)], outputs=[io.Vae.Output()]
        )

    @classmethod
    def execute(cls, photos: dict) -> io.NodeOutput:
        return io.NodeOutput(_Photos(list(photos.values())))


class Photos(io.ComfyNode):
    """Photos of several sizes as one batch, cut and not stretched."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        template = io.Autogrow.TemplatePrefix(io.Image.Input("photo"), prefix="photo", min=1, max=8)
        return io.Schema(
            node_id="TestPhotos", inputs=[io.Autogrow.Input("photos", template=template)], outputs=[io.Image.Output()]
        )

    @classmethod
    def execute(cls, photos: dict) -> io.NodeOutput:
        return io.NodeOutput(torch.cat([_square(photo) for photo in photos.values()]))


class _Photos:
    def __init__(self, photos: list[torch.Tensor]) -> None:
        self.photos = [_square(photo) for photo in photos]
        self._numbers: dict[float, int] = {}

    def decode(self, samples: torch.Tensor) -> torch.Tensor:
        """The next photo for each new latent, and the same photo again for a latent that came before."""
        sums = [float(sample.abs().sum()) for sample in samples]
        numbers = [self._numbers.setdefault(total, len(self._numbers)) for total in sums]
        return torch.cat([self.photos[number % len(self.photos)] for number in numbers])


def _square(photo: torch.Tensor, side: int = 512) -> torch.Tensor:
    """Cut to a square from the top, ``(1, side, side, 3)``."""
    least = min(photo.shape[1:3])
    left = (photo.shape[2] - least) // 2
    pixels = photo[:1, :least, left : left + least, :3].movedim(-1, 1)
    return torch.nn.functional.interpolate(pixels, size=(side, side), mode="area").movedim(1, -1)


class FaultExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [FaultyImage, Anything, LoadedModels, ForeignLora, PhotoVAE, Photos]


async def comfy_entrypoint() -> ComfyExtension:
    return FaultExtension()
