"""What shared workflows depend on, pinned: node ids, sockets, and the order of widgets. It may only be appended to."""

# Node id -> its inputs, as "name type default", and its outputs, as "name type".
NODES = {
    "HyperLoRAPortrait": (
        "model MODEL, hyper_lora HYPER_LORA, images COMFY_AUTOGROW_V3, id_weight FLOAT 0.8, base_weight FLOAT 0.0, "
        "on_no_face COMBO error, application COMBO patch, turn_upright BOOLEAN True",
        "model MODEL, crops IMAGE, trigger_words STRING, lora LORA,LORA_MODEL",
    ),
    "HyperLoRALoadModel": (
        "model COMBO, clip_vision COMBO auto, face_model COMBO auto, face_engine COMBO auto, dtype COMBO auto, "
        "other_encoders COMBO refuse",
        "hyper_lora HYPER_LORA, trigger_words STRING",
    ),
    "HyperLoRADetectFaces": (
        "hyper_lora HYPER_LORA, images COMFY_AUTOGROW_V3, order COMBO largest, index INT 0, on_no_face COMBO error, "
        "reference IMAGE, picked STRING [], turn_upright BOOLEAN True",
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
    "HyperLoRAApply": (
        "model MODEL, lora LORA,LORA_MODEL, strength FLOAT 1.0, application COMBO patch, schedule HYPER_LORA_SCHEDULE",
        "model MODEL",
    ),
    "HyperLoRAConfig": (
        "image_processor COMBO, image_encoder COMBO, resampler.dim INT 1024, resampler.dim_head INT 64, "
        "resampler.heads INT 12, resampler.depth INT 4, resampler.ff_mult INT 4, encoder_types COMBO clip + arcface, "
        "face_analyzer COMBO, id_embed_dim INT 512, num_id_tokens INT 16, hyper_dim INT 128, lora_rank INT 8, "
        "has_base_lora BOOLEAN False",
        "HYPER_LORA_CONFIG HYPER_LORA_CONFIG",
    ),
    "HyperLoRALoader": (
        "config HYPER_LORA_CONFIG, model COMBO, dtype COMBO, other_encoders COMBO refuse",
        "HYPER_LORA HYPER_LORA",
    ),
    "HyperLoRAUniLoader": (
        "image_processor COMBO, image_encoder COMBO, encoder_types COMBO clip + arcface, face_analyzer COMBO, "
        "model COMBO, dtype COMBO, other_encoders COMBO refuse",
        "HYPER_LORA HYPER_LORA",
    ),
    "HyperLoRAFaceAttr": (
        "hyper_lora HYPER_LORA, images IMAGE, on_no_face COMBO error, order COMBO detection order",
        "FACE_ATTR FACE_ATTR",
    ),
    "HyperLoRAIDCond": (
        "hyper_lora HYPER_LORA, images IMAGE, face_attr FACE_ATTR, grayscale BOOLEAN False, "
        "remove_background BOOLEAN True",
        "ID_COND ID_COND, IMAGE IMAGE",
    ),
    "HyperLoRABaseCond": (
        "hyper_lora HYPER_LORA, images IMAGE, face_attr FACE_ATTR, crop BOOLEAN True, crop_scale_LRTB STRING 1,1,1,1, "
        "safe_crop BOOLEAN True",
        "BASE_COND BASE_COND, IMAGE IMAGE",
    ),
    "HyperLoRAGenerateIDLoRA": ("hyper_lora HYPER_LORA, id_cond ID_COND", "LORA LORA"),
    "HyperLoRAGenerateBaseLoRA": ("hyper_lora HYPER_LORA, base_cond BASE_COND", "LORA LORA"),
    "HyperLoRAUniGenerateIDLoRA": (
        "hyper_lora HYPER_LORA, images IMAGE, grayscale BOOLEAN False, remove_background BOOLEAN True, "
        "on_no_face COMBO error, order COMBO detection order",
        "LORA LORA",
    ),
    "HyperLoRAApplyLoRA": ("model MODEL, lora LORA, weight FLOAT 0.8", "MODEL MODEL"),
    "HyperLoRASaveLoRA": ("filename_prefix STRING lora/id_lora, lora LORA", ""),
    "HyperLoRASaveIdentity": (
        "identity HYPER_LORA_IDENTITY, name STRING person, overwrite BOOLEAN False",
        "identity_name STRING",
    ),
    "HyperLoRALoadIdentity": ("identity_name COMBO", "identity HYPER_LORA_IDENTITY, thumbnail IMAGE"),
    "HyperLoRAMixPhotos": (
        "identities COMFY_AUTOGROW_V3, weights STRING , outliers COMBO keep, least_agreement FLOAT 0.28",
        "identity HYPER_LORA_IDENTITY, report STRING",
    ),
    "HyperLoRABlend": (
        "identity_a HYPER_LORA_IDENTITY, identity_b HYPER_LORA_IDENTITY, amount FLOAT 0.5, method COMBO linear, "
        "blocks HYPER_LORA_BLOCKS",
        "identity HYPER_LORA_IDENTITY",
    ),
    "HyperLoRABlocks": (
        "down FLOAT 1.0, mid FLOAT 1.0, up FLOAT 1.0, attn1 FLOAT 1.0, attn2 FLOAT 1.0, more STRING ",
        "blocks HYPER_LORA_BLOCKS",
    ),
    "HyperLoRAScaleBlocks": ("lora LORA,LORA_MODEL, blocks HYPER_LORA_BLOCKS", "lora LORA,LORA_MODEL"),
    "HyperLoRAMakeSlider": ("more COMFY_AUTOGROW_V3, less COMFY_AUTOGROW_V3", "slider HYPER_LORA_SLIDER"),
    "HyperLoRAGenerateSlider": ("hyper_lora HYPER_LORA, slider HYPER_LORA_SLIDER", "lora LORA,LORA_MODEL"),
    "HyperLoRASaveSlider": (
        "slider HYPER_LORA_SLIDER, name STRING slider, overwrite BOOLEAN False",
        "slider_name STRING",
    ),
    "HyperLoRALoadSlider": ("slider_name COMBO", "slider HYPER_LORA_SLIDER"),
    "HyperLoRASave": (
        "lora LORA,LORA_MODEL, filename_prefix STRING person, dtype COMBO fp16, schedule HYPER_LORA_SCHEDULE",
        "lora_name STRING",
    ),
    "HyperLoRAApplyPerItem": (
        "model MODEL, loras COMFY_AUTOGROW_V3, strength FLOAT 1.0, fewer_people COMBO repeat, "
        "schedule HYPER_LORA_SCHEDULE",
        "model MODEL",
    ),
    "HyperLoRAApplyRegions": (
        "model MODEL, loras COMFY_AUTOGROW_V3, masks COMFY_AUTOGROW_V3, strength FLOAT 1.0, "
        "schedule HYPER_LORA_SCHEDULE",
        "model MODEL",
    ),
    "HyperLoRAPersonForPrompt": (
        "model MODEL, conditioning CONDITIONING, lora LORA,LORA_MODEL, strength FLOAT 1.0, mask MASK, "
        "schedule HYPER_LORA_SCHEDULE",
        "model MODEL, conditioning CONDITIONING",
    ),
    "HyperLoRALikeness": (
        "images IMAGE, order COMBO as they came, least FLOAT -1.0, most INT 0, face_model COMBO auto, "
        "identity HYPER_LORA_IDENTITY, photos COMFY_AUTOGROW_V3",
        "images IMAGE, best FLOAT, scores FLOAT, report STRING",
    ),
    "HyperLoRAScore": (
        "images IMAGE, prompt STRING , clip COMBO auto, face_model COMBO auto, id_model COMBO auto, "
        "photos COMFY_AUTOGROW_V3, held_out COMFY_AUTOGROW_V3, without IMAGE",
        "report STRING, id_sim FLOAT, clip_i FLOAT, clip_t FLOAT",
    ),
    "HyperLoRASampleUntilAlike": (
        "model MODEL, positive CONDITIONING, negative CONDITIONING, latent_image LATENT, vae VAE, seed INT 0, "
        "steps INT 20, cfg FLOAT 5.0, sampler_name COMBO dpmpp_2m, scheduler COMBO karras, denoise FLOAT 1.0, "
        "enough FLOAT 0.46, seeds INT 4, strengths STRING , face_model COMBO auto, lora LORA,LORA_MODEL, "
        "identity HYPER_LORA_IDENTITY, photos COMFY_AUTOGROW_V3",
        "latent LATENT, image IMAGE, score FLOAT, seed INT, strength FLOAT, all_images IMAGE, report STRING, "
        "scores FLOAT",
    ),
    "HyperLoRARefineFaces": (
        "images IMAGE, model MODEL, vae VAE, positive CONDITIONING, negative CONDITIONING, loras COMFY_AUTOGROW_V3, "
        "strength FLOAT 1.0, assignment COMBO left to right, least_likeness FLOAT 0.1, seed INT 0, steps INT 20, "
        "cfg FLOAT 5.0, sampler_name COMBO dpmpp_2m, scheduler COMBO karras, denoise FLOAT 0.4, size INT 1024, "
        "surroundings FLOAT 1.6, feather FLOAT 0.08, on_no_face COMBO skip, face_model COMBO auto, "
        "identities COMFY_AUTOGROW_V3",
        "images IMAGE, masks MASK, report STRING",
    ),
    "HyperLoRAPhotoReport": ("faces HYPER_LORA_FACES", "report STRING, preview IMAGE"),
    "HyperLoRAFaceKeypoints": (
        "faces HYPER_LORA_FACES, width INT 1024, height INT 1024, fit COMBO whole photo, every_face BOOLEAN False",
        "image IMAGE",
    ),
    "HyperLoRASchedule": (
        "curve COMBO constant, start_percent FLOAT 0.0, end_percent FLOAT 1.0, points STRING 0: 0, 0.3: 1, 1: 0.6",
        "schedule HYPER_LORA_SCHEDULE, hook_keyframes HOOK_KEYFRAMES",
    ),
    "HyperLoRACreateHook": (
        "lora LORA,LORA_MODEL, strength FLOAT 1.0, schedule HYPER_LORA_SCHEDULE, prev_hooks HOOKS",
        "hooks HOOKS",
    ),
}

# Node -> number widget -> least, most, step; of the public pack but for the weight, which is wider here.
RANGES = {
    "HyperLoRAConfig": {
        "resampler.dim": (64, 2048, 32),
        "resampler.dim_head": (32, 512, 32),
        "resampler.heads": (4, 32, 4),
        "resampler.depth": (4, 16, 2),
        "resampler.ff_mult": (2, 8, 2),
        "id_embed_dim": (128, 1024, 32),
        "num_id_tokens": (4, 128, 4),
        "hyper_dim": (32, 1024, 32),
        "lora_rank": (2, 32, 2),
    },
    "HyperLoRAApplyLoRA": {"weight": (-3.0, 3.0, 0.01)},
}

# Node, widget -> its choices.
OPTIONS = {
    ("HyperLoRAConfig", "encoder_types"): ["clip", "arcface", "clip + arcface"],
    ("HyperLoRAUniLoader", "encoder_types"): ["clip", "arcface", "clip + arcface"],
    ("HyperLoRAUniLoader", "dtype"): ["fp16", "bf16", "fp32"],
    ("HyperLoRALoader", "dtype"): ["fp16", "bf16", "fp32"],
    ("HyperLoRALoadModel", "face_engine"): ["auto", "torch", "onnxruntime", "insightface"],
    ("HyperLoRALoadModel", "dtype"): ["auto", "fp32", "bf16", "fp16"],
    ("HyperLoRADetectFaces", "order"): ["largest", "left to right", "detection order", "best match"],
    ("HyperLoRADetectFaces", "on_no_face"): ["error", "skip", "bypass"],
    ("HyperLoRAPortrait", "on_no_face"): ["error", "skip", "bypass"],
    ("HyperLoRASave", "dtype"): ["fp16", "bf16", "fp32"],
    ("HyperLoRAMixPhotos", "outliers"): ["keep", "drop"],
    ("HyperLoRABlend", "method"): ["linear", "spherical"],
    ("HyperLoRAApply", "application"): ["patch", "run-time"],
    ("HyperLoRAPortrait", "application"): ["patch", "run-time"],
    ("HyperLoRALikeness", "order"): ["as they came", "best first"],
    ("HyperLoRARefineFaces", "assignment"): ["left to right", "by likeness"],
    ("HyperLoRARefineFaces", "on_no_face"): ["skip", "error"],
    ("HyperLoRAFaceKeypoints", "fit"): ["whole photo", "fill"],
    ("HyperLoRAApplyPerItem", "fewer_people"): ["repeat", "error"],
    ("HyperLoRASchedule", "curve"): [
        "constant",
        "rise",
        "rise, ease in",
        "rise, ease out",
        "rise, ease in and out",
        "fall",
        "fall, ease in",
        "fall, ease out",
        "fall, ease in and out",
        "rise and fall",
        "points",
    ],
}


# Node -> growing input -> prefix of its slots.
GROWING = {
    "HyperLoRAMixPhotos": {"identities": "identity"},
    "HyperLoRAMakeSlider": {"more": "more", "less": "less"},
    "HyperLoRAApplyPerItem": {"loras": "lora"},
    "HyperLoRAApplyRegions": {"loras": "lora", "masks": "mask"},
}
