"""API prompts as the public pack writes them."""

import json

from demo import workflows
from tests.support import models as demo

ENCODERS = {
    "image_processor": "clip_vit_large_14_processor",
    "image_encoder": "clip_vit_large_14",
    "encoder_types": "clip + arcface",
    "face_analyzer": "antelopev2",
}
RIGHT = {
    "resampler.dim": 192,
    "resampler.dim_head": 64,
    "resampler.heads": 4,
    "resampler.depth": 4,
    "resampler.ff_mult": 4,
    "id_embed_dim": 512,
    "num_id_tokens": 16,
    "hyper_dim": 32,
    "lora_rank": 8,
    "has_base_lora": True,
}


def uni(plain, model=demo.HYPER_LORA, weight=0.8, **encoders) -> workflows.Workflow:
    """UniLoader, UniGenerate, Apply, as an API prompt of the public pack has them."""
    photo = [workflows.node(plain, "LoadImage"), 0]
    base = plain[workflows.node(plain, "KSampler")]["inputs"]
    nodes = {
        "101": ("HyperLoRAUniLoader", ENCODERS | {"model": model, "dtype": "fp16"} | encoders),
        "102": (
            "HyperLoRAUniGenerateIDLoRA",
            {"hyper_lora": ["101", 0], "images": photo, "grayscale": False, "remove_background": True},
        ),
        "103": ("HyperLoRAApplyLoRA", {"model": base["model"], "lora": ["102", 0], "weight": weight}),
    }
    workflow = json.loads(json.dumps(plain))
    workflow[workflows.node(workflow, "KSampler")]["inputs"]["model"] = ["103", 0]
    return workflow | {number: {"class_type": kind, "inputs": inputs} for number, (kind, inputs) in nodes.items()}


def steps(plain, **config) -> workflows.Workflow:
    """Config, Loader, FaceAttr, both Conds, both Generates, two Applies, Save."""
    photo = [workflows.node(plain, "LoadImage"), 0]
    base = plain[workflows.node(plain, "KSampler")]["inputs"]
    photo_inputs = {"hyper_lora": ["102", 0], "images": photo, "face_attr": ["103", 0]}
    nodes = {
        "101": ("HyperLoRAConfig", ENCODERS | RIGHT | config),
        "102": ("HyperLoRALoader", {"config": ["101", 0], "model": "config_sized", "dtype": "fp32"}),
        "103": ("HyperLoRAFaceAttr", {"hyper_lora": ["102", 0], "images": photo}),
        "104": ("HyperLoRAIDCond", photo_inputs | {"grayscale": False, "remove_background": True}),
        "105": ("HyperLoRABaseCond", photo_inputs | {"crop": True, "crop_scale_LRTB": "1,1,1,1", "safe_crop": True}),
        "106": ("HyperLoRAGenerateIDLoRA", {"hyper_lora": ["102", 0], "id_cond": ["104", 0]}),
        "107": ("HyperLoRAGenerateBaseLoRA", {"hyper_lora": ["102", 0], "base_cond": ["105", 0]}),
        "108": ("HyperLoRAApplyLoRA", {"model": base["model"], "lora": ["106", 0], "weight": 0.8}),
        "109": ("HyperLoRAApplyLoRA", {"model": ["108", 0], "lora": ["107", 0], "weight": 0.4}),
        "110": ("HyperLoRASaveLoRA", {"filename_prefix": "lora/id_lora", "lora": ["106", 0]}),
        "111": ("PreviewImage", {"images": ["104", 1]}),
        "112": ("PreviewImage", {"images": ["105", 1]}),
    }
    workflow = json.loads(json.dumps(plain))
    workflow[workflows.node(workflow, "KSampler")]["inputs"]["model"] = ["109", 0]
    return workflow | {number: {"class_type": kind, "inputs": inputs} for number, (kind, inputs) in nodes.items()}
