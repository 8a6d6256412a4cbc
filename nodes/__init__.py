"""The nodes, one file a topic: read sockets, call the core, wrap the result."""

from comfy_api.latest import ComfyExtension, io

from ..hyperlora_core.doors.comfyui.runtime import tiles
from . import (
    about,
    cards,
    carried,
    doctor,
    downloads,
    faces,
    identity,
    library,
    likeness,
    lora,
    mixing,
    models,
    neighbours,
    picker,
    placing,
    portrait,
    public_pack,
    refine,
    report,
    schedule,
    scores,
    slider,
)
from .host import cache, folders, progress


class HyperLoRAExtension(ComfyExtension):
    """What the pack brings to ComfyUI."""

    async def on_load(self) -> None:
        """Register the model folders, and listen to ComfyUI's wishes."""
        folders.register_folders()
        cache.clear_with_comfyui()
        neighbours.look_out()
        picker.answer_the_picker()
        about.answer_about()
        cards.answer_cards()
        doctor.answer_doctor()
        downloads.answer_downloads()
        tiles.listeners.append(progress.remark_now)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack."""
        nodes: list[type[io.ComfyNode]] = [
            portrait.HyperLoRAPortrait,
            models.HyperLoRALoadModel,
            faces.HyperLoRADetectFaces,
            report.HyperLoRAPhotoReport,
            report.HyperLoRAFaceKeypoints,
            identity.HyperLoRAEncodeIdentity,
            identity.HyperLoRAEncodeBase,
            lora.HyperLoRAGenerate,
            lora.HyperLoRAApply,
            lora.HyperLoRASave,
            library.HyperLoRASaveIdentity,
            library.HyperLoRALoadIdentity,
            mixing.HyperLoRAMixPhotos,
            mixing.HyperLoRABlend,
            mixing.HyperLoRABlocks,
            mixing.HyperLoRAScaleBlocks,
            placing.HyperLoRAApplyPerItem,
            placing.HyperLoRAApplyRegions,
            placing.HyperLoRAPersonForPrompt,
            schedule.HyperLoRASchedule,
            schedule.HyperLoRACreateHook,
            likeness.HyperLoRALikeness,
            likeness.HyperLoRASampleUntilAlike,
            scores.HyperLoRAScore,
            refine.HyperLoRARefineFaces,
            slider.HyperLoRAMakeSlider,
            slider.HyperLoRAGenerateSlider,
            library.HyperLoRASaveSlider,
            library.HyperLoRALoadSlider,
            *public_pack.NODES,
        ]
        return [carried.checked(node) for node in nodes]
