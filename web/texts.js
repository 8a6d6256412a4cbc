// What a node found out, as text on the node: reports, scores, the files it wrote.

import { app } from "../../scripts/app.js";
import { addPanel } from "./panel.js";
import "./results.js"; // first, so that the texts stand below the cards

app.registerExtension({
    name: "HyperLoRA.texts",
    nodeCreated(node) {
        if (!node.comfyClass?.startsWith("HyperLoRA")) return;
        const before = node.onExecuted;
        let panel = null;
        node.onExecuted = function (output) {
            before?.apply(this, arguments);
            if (!output?.text?.length) return;
            panel ??= addPanel(this, "text", 70);
            panel.tabIndex = 0;
            panel.textContent = output.text.join("\n");
        };
    },
});
