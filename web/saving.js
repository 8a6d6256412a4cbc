// %Node.widget% in the names of the nodes that save: the editor fills it in, for ComfyUI's own save nodes by itself.
// Dates are left to the server, which fills them in for prompts over the API too.

import { app } from "../../scripts/app.js";

const NAMES = {
    HyperLoRASave: "filename_prefix",
    HyperLoRASaveLoRA: "filename_prefix",
    HyperLoRASaveIdentity: "name",
    HyperLoRASaveSlider: "name",
};

const replaced = (text) => window.comfyAPI?.utils?.applyTextReplacements?.(app, text) ?? text;
const filled = (text) => text.split(/(%date:[^%]+%)/)
    .map((part, place) => (place % 2 ? part : replaced(part))).join("");

app.registerExtension({
    name: "HyperLoRA.saving",
    nodeCreated(node) {
        const widget = node.widgets?.find((each) => each.name === NAMES[node.comfyClass]);
        if (widget) widget.serializeValue = () => filled(String(widget.value ?? ""));
    },
});
