// The pack's settings in ComfyUI's dialog; nodes/settings.py reads what is chosen.

import { app } from "../../scripts/app.js";
import { aboutPage } from "./doctor.js";

app.registerExtension({
    name: "HyperLoRA.settings",
    settings: [
        {
            id: "HyperLoRA.Cache.Size",
            category: ["HyperLoRA", "Memory", "Cache"],
            name: "Keep faces and LoRAs for the next prompts (MB)",
            tooltip:
                "The same photos then take no time again. 0 keeps nothing. " +
                "ComfyUI's own 'Unload models and execution cache' empties it.",
            type: "slider",
            attrs: { min: 0, max: 4096, step: 64 },
            defaultValue: 512,
        },
        {
            id: "HyperLoRA.Faces.Engine",
            category: ["HyperLoRA", "Faces", "Engine"],
            name: "What runs the face models",
            tooltip:
                "Where a node's face_engine is auto. auto here is torch, on the device of ComfyUI's other models, " +
                "and onnxruntime for models that torch cannot run.",
            type: "combo",
            options: ["auto", "torch", "onnxruntime", "insightface"],
            defaultValue: "auto",
        },
        {
            id: "HyperLoRA.Faces.OnNoFace",
            category: ["HyperLoRA", "Faces", "OnNoFace"],
            name: "New nodes: a photo without a face",
            tooltip: "What on_no_face is on nodes that are added from now on. Press R to refresh the nodes.",
            type: "combo",
            options: ["error", "skip", "bypass"],
            defaultValue: "error",
        },
        {
            id: "HyperLoRA.Licences.Accepted",
            category: ["HyperLoRA", "Licences", "Accepted"],
            name: "I accept the licences of the models that I download",
            tooltip:
                "HyperLoRA's weights are CC BY-NC 4.0, AntelopeV2's for non-commercial research, CLIP's MIT. " +
                "Without this, the dialog of models asks at each download.",
            type: "boolean",
            defaultValue: false,
        },
        {
            id: "HyperLoRA.About.Report",
            category: ["HyperLoRA", "About", "Report"],
            name: "What a report of a bug needs",
            tooltip: "Versions, device, models and what other packs do. Names of people and your paths are left out.",
            type: aboutPage,
            defaultValue: null,
        },
    ],
});
