// The pack's settings in ComfyUI's dialog; nodes/cache.py reads what is chosen.

import { app } from "../../scripts/app.js";

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
    ],
});
