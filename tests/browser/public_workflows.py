"""Workflows in the UI format as the public pack's users share them, written from the pinned order of its widgets."""

from typing import Any

# Class -> (sockets in: name, type), (sockets out: name, type). Widgets have no socket in files of that time.
SOCKETS: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "HyperLoRAConfig": ([], [("HYPER_LORA_CONFIG", "HYPER_LORA_CONFIG")]),
    "HyperLoRALoader": ([("config", "HYPER_LORA_CONFIG")], [("HYPER_LORA", "HYPER_LORA")]),
    "HyperLoRAUniLoader": ([], [("HYPER_LORA", "HYPER_LORA")]),
    "HyperLoRAFaceAttr": ([("hyper_lora", "HYPER_LORA"), ("images", "IMAGE")], [("FACE_ATTR", "FACE_ATTR")]),
    "HyperLoRAIDCond": (
        [("hyper_lora", "HYPER_LORA"), ("images", "IMAGE"), ("face_attr", "FACE_ATTR")],
        [("ID_COND", "ID_COND"), ("IMAGE", "IMAGE")],
    ),
    "HyperLoRABaseCond": (
        [("hyper_lora", "HYPER_LORA"), ("images", "IMAGE"), ("face_attr", "FACE_ATTR")],
        [("BASE_COND", "BASE_COND"), ("IMAGE", "IMAGE")],
    ),
    "HyperLoRAGenerateIDLoRA": ([("hyper_lora", "HYPER_LORA"), ("id_cond", "ID_COND")], [("LORA", "LORA")]),
    "HyperLoRAGenerateBaseLoRA": ([("hyper_lora", "HYPER_LORA"), ("base_cond", "BASE_COND")], [("LORA", "LORA")]),
    "HyperLoRAUniGenerateIDLoRA": ([("hyper_lora", "HYPER_LORA"), ("images", "IMAGE")], [("LORA", "LORA")]),
    "HyperLoRAApplyLoRA": ([("model", "MODEL"), ("lora", "LORA")], [("MODEL", "MODEL")]),
    "HyperLoRASaveLoRA": ([("lora", "LORA")], []),
    "LoadImage": ([], [("IMAGE", "IMAGE"), ("MASK", "MASK")]),
    "CheckpointLoaderSimple": ([], [("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")]),
    "CLIPTextEncode": ([("clip", "CLIP")], [("CONDITIONING", "CONDITIONING")]),
    "EmptyLatentImage": ([], [("LATENT", "LATENT")]),
    "KSampler": (
        [("model", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING"), ("latent_image", "LATENT")],
        [("LATENT", "LATENT")],
    ),
    "VAEDecode": ([("samples", "LATENT"), ("vae", "VAE")], [("IMAGE", "IMAGE")]),
    "SaveImage": ([("images", "IMAGE")], []),
}

# Class -> its widgets, which files of a newer front end also list among the sockets.
WIDGETS = {
    "HyperLoRAConfig": (
        "image_processor image_encoder resampler.dim resampler.dim_head resampler.heads resampler.depth "
        "resampler.ff_mult encoder_types face_analyzer id_embed_dim num_id_tokens hyper_dim lora_rank has_base_lora"
    ),
    "HyperLoRALoader": "model dtype",
    "HyperLoRAUniLoader": "image_processor image_encoder encoder_types face_analyzer model dtype",
    "HyperLoRAIDCond": "grayscale remove_background",
    "HyperLoRABaseCond": "crop crop_scale_LRTB safe_crop",
    "HyperLoRAUniGenerateIDLoRA": "grayscale remove_background",
    "HyperLoRAApplyLoRA": "weight",
    "HyperLoRASaveLoRA": "filename_prefix",
}

Step = tuple[str, list[Any], dict[str, tuple[int, int]]]
"""Class, widget values by position, socket -> (number of the step before, its output)."""


def with_widget_sockets(workflow: dict[str, Any]) -> dict[str, Any]:
    """The same file as a newer front end writes it: every widget is a socket too, and names are localised."""
    for node in workflow["nodes"]:
        kinds = {bool: "BOOLEAN", str: "STRING", int: "INT", float: "FLOAT"}
        names = WIDGETS.get(node["type"], "").split()
        for name, value in zip(names, node["widgets_values"] if names else [], strict=True):
            socket = {"name": name, "type": kinds[type(value)], "widget": {"name": name}, "link": None}
            node["inputs"].append(socket)
        for socket in node["inputs"] + node["outputs"]:
            socket["localized_name"] = socket["name"]
    return workflow


def workflow(steps: list[Step]) -> dict[str, Any]:
    """The UI format of 2025: nodes with positional widget values, and a table of links."""
    nodes, links = [], []
    for number, (kind, widgets, wires) in enumerate(steps, start=1):
        inputs, outputs = SOCKETS[kind]
        node = {
            "id": number,
            "type": kind,
            "pos": [320 * (number % 5), 260 * (number // 5)],
            "size": [300, 200],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [{"name": name, "type": type, "link": None} for name, type in inputs],
            "outputs": [{"name": name, "type": type, "links": []} for name, type in outputs],
            "properties": {"Node name for S&R": kind},
            "widgets_values": widgets,
        }
        for slot, socket in enumerate(node["inputs"]):
            origin, output = wires[socket["name"]]
            socket["link"] = len(links) + 1
            nodes[origin - 1]["outputs"][output]["links"].append(socket["link"])
            links.append([socket["link"], origin, output, number, slot, socket["type"]])
        nodes.append(node)
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def rest(model: tuple[int, int], checkpoint: int, first: int) -> list[Step]:
    """Prompt, sampler and picture, behind a model; ``first`` is the number of the first of these steps."""
    return [
        ("CLIPTextEncode", ["fcsks fxhks fhyks, portrait"], {"clip": (checkpoint, 1)}),
        ("CLIPTextEncode", ["blurry"], {"clip": (checkpoint, 1)}),
        ("EmptyLatentImage", [128, 128, 1], {}),
        (
            "KSampler",
            [7, "fixed", 2, 5.0, "dpmpp_2m", "karras", 1.0],
            {"model": model, "positive": (first, 0), "negative": (first + 1, 0), "latent_image": (first + 2, 0)},
        ),
        ("VAEDecode", [], {"samples": (first + 3, 0), "vae": (checkpoint, 2)}),
        ("SaveImage", ["ComfyUI"], {"images": (first + 4, 0)}),
    ]


def simple(photo: str, checkpoint: str, model: str) -> list[Step]:
    """UniLoader and UniGenerate."""
    encoders = ["clip_vit_large_14_processor", "clip_vit_large_14", "clip + arcface", "antelopev2"]
    return [
        ("LoadImage", [photo, "image"], {}),
        ("CheckpointLoaderSimple", [checkpoint], {}),
        ("HyperLoRAUniLoader", [*encoders, model, "fp32"], {}),
        ("HyperLoRAUniGenerateIDLoRA", [True, False], {"hyper_lora": (3, 0), "images": (1, 0)}),
        ("HyperLoRAApplyLoRA", [0.9], {"model": (2, 0), "lora": (4, 0)}),
        ("HyperLoRASaveLoRA", ["lora/shared"], {"lora": (4, 0)}),
        *rest((5, 0), 2, 7),
    ]


def advanced(photo: str, checkpoint: str, model: str) -> list[Step]:
    """Config, Loader and every step, with a Base-LoRA."""
    config = ["clip_vit_large_14_processor", "clip_vit_large_14", 192, 64, 4, 4, 4]
    config += ["clip + arcface", "antelopev2", 512, 16, 32, 8, True]
    images = {"hyper_lora": (4, 0), "images": (1, 0), "face_attr": (5, 0)}
    return [
        ("LoadImage", [photo, "image"], {}),
        ("CheckpointLoaderSimple", [checkpoint], {}),
        ("HyperLoRAConfig", config, {}),
        ("HyperLoRALoader", [model, "fp32"], {"config": (3, 0)}),
        ("HyperLoRAFaceAttr", [], {"hyper_lora": (4, 0), "images": (1, 0)}),
        ("HyperLoRAIDCond", [True, False], images),
        ("HyperLoRABaseCond", [False, "1,1,2,1.5", False], images),
        ("HyperLoRAGenerateIDLoRA", [], {"hyper_lora": (4, 0), "id_cond": (6, 0)}),
        ("HyperLoRAGenerateBaseLoRA", [], {"hyper_lora": (4, 0), "base_cond": (7, 0)}),
        ("HyperLoRAApplyLoRA", [-1.25], {"model": (2, 0), "lora": (8, 0)}),
        ("HyperLoRAApplyLoRA", [0.4], {"model": (10, 0), "lora": (9, 0)}),
        *rest((11, 0), 2, 12),
    ]
