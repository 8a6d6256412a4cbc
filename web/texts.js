// What a node found out, as text on the node: reports, scores, the files it wrote.

import { app } from "../../scripts/app.js";

let serial = 0;

function addPanel(node) {
    const panel = document.createElement("div");
    panel.className = "hyperlora-text";
    panel.style.cssText =
        "min-height: 70px; padding: 6px; overflow: auto; white-space: pre-wrap; user-select: text; " +
        "font: 12px/1.4 sans-serif; color: var(--fg-color); background: var(--comfy-input-bg); border-radius: 4px";
    panel.dataset.captureWheel = "true";
    panel.tabIndex = 0;
    // The type has to be another for each: Nodes 2.0 keeps the old element after an undo otherwise.
    node.addDOMWidget("hyperlora_text", `hyperlora_text_${++serial}`, panel, {
        serialize: false,
        hideOnZoom: false,
        hideInPanel: true,
        getMinHeight: () => 80,
    }).serialize = false;
    return panel;
}

app.registerExtension({
    name: "HyperLoRA.texts",
    nodeCreated(node) {
        if (!node.comfyClass?.startsWith("HyperLoRA")) return;
        const before = node.onExecuted;
        let panel = null;
        node.onExecuted = function (output) {
            before?.apply(this, arguments);
            if (!output?.text?.length) return;
            panel ??= addPanel(this);
            panel.textContent = output.text.join("\n");
        };
    },
});
