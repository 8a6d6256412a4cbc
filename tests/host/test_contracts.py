"""What shared workflows depend on, pinned: node ids, sockets, and the order of widgets. It may only be appended to."""

import pytest

NODES = {
    "HyperLoRAPortrait": (
        "model MODEL, hyper_lora HYPER_LORA, images COMFY_AUTOGROW_V3, id_weight FLOAT 0.8, base_weight FLOAT 0.0, "
        "on_no_face COMBO error",
        "model MODEL, crops IMAGE, trigger_words STRING, lora LORA,LORA_MODEL",
    ),
    "HyperLoRALoadModel": (
        "model COMBO, clip_vision COMBO auto, face_model COMBO auto, provider COMBO auto, dtype COMBO auto, "
        "other_encoders COMBO refuse",
        "hyper_lora HYPER_LORA, trigger_words STRING",
    ),
    "HyperLoRADetectFaces": (
        "hyper_lora HYPER_LORA, images COMFY_AUTOGROW_V3, order COMBO largest, index INT 0, on_no_face COMBO error, "
        "reference IMAGE",
        "faces HYPER_LORA_FACES, preview IMAGE",
    ),
    "HyperLoRAEncodeIdentity": (
        "hyper_lora HYPER_LORA, faces HYPER_LORA_FACES, remove_background BOOLEAN True, grayscale BOOLEAN False",
        "identity HYPER_LORA_IDENTITY, crops IMAGE",
    ),
    "HyperLoRAEncodeBase": (
        "hyper_lora HYPER_LORA, faces HYPER_LORA_FACES, crop BOOLEAN True, scale_left FLOAT 1.0, "
        "scale_right FLOAT 1.0, scale_top FLOAT 1.0, scale_bottom FLOAT 1.0, safe_crop BOOLEAN True, "
        "identity HYPER_LORA_IDENTITY",
        "identity HYPER_LORA_IDENTITY, crops IMAGE",
    ),
    "HyperLoRAGenerate": (
        "hyper_lora HYPER_LORA, identity HYPER_LORA_IDENTITY, id_weight FLOAT 0.8, base_weight FLOAT 0.4",
        "lora LORA,LORA_MODEL",
    ),
    "HyperLoRAApply": ("model MODEL, lora LORA,LORA_MODEL, strength FLOAT 1.0", "model MODEL"),
    "HyperLoRASave": ("lora LORA,LORA_MODEL, filename_prefix STRING person, dtype COMBO fp16", "lora_name STRING"),
}

OPTIONS = {
    ("HyperLoRALoadModel", "provider"): ["auto", "CUDA", "ROCm", "CoreML", "DirectML", "CPU"],
    ("HyperLoRALoadModel", "dtype"): ["auto", "fp32", "bf16", "fp16"],
    ("HyperLoRADetectFaces", "order"): ["largest", "left to right", "detection order", "best match"],
    ("HyperLoRADetectFaces", "on_no_face"): ["error", "skip", "bypass"],
    ("HyperLoRAPortrait", "on_no_face"): ["error", "skip", "bypass"],
    ("HyperLoRASave", "dtype"): ["fp16", "bf16", "fp32"],
}


def inputs(info: dict) -> dict:
    """Inputs in the order of the node's sockets and widgets."""
    return info["input"]["required"] | info["input"].get("optional", {})


@pytest.mark.parametrize("node", NODES)
def test_sockets_and_widgets_are_as_shared_workflows_know_them(server, node):
    info = server.object_info(node)[node]
    found = ", ".join(
        " ".join(str(part) for part in (name, kind, details.get("default")) if part is not None)
        for name, (kind, details) in inputs(info).items()
    )
    outputs = ", ".join(f"{name} {kind}" for name, kind in zip(info["output_name"], info["output"], strict=True))
    assert (found, outputs) == NODES[node]


@pytest.mark.parametrize(("node", "name"), OPTIONS)
def test_choices_are_as_shared_workflows_know_them(server, node, name):
    assert inputs(server.object_info(node)[node])[name][1]["options"] == OPTIONS[node, name]


def test_photos_are_named_as_api_prompts_name_them(server):
    for node in ("HyperLoRAPortrait", "HyperLoRADetectFaces"):
        template = inputs(server.object_info(node)[node])["images"][1]["template"]
        assert (template["prefix"], template["min"], template["max"]) == ("image", 1, 16)
