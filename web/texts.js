// The text that a node has for the user after a run: a report, scores, names of files.

import { app } from "../../scripts/app.js";
import { isOurs } from "./graph.js";
import { addPanel } from "./panel.js";
import "./results.js"; // first, so that the texts are below the cards

app.registerExtension({
    name: "HyperLoRA.texts",
    nodeCreated(node) {
        if (!isOurs(node)) return;
        const { onExecuted } = node;
        let panel = null;
        node.onExecuted = function (output) {
            onExecuted?.apply(this, arguments);
            if (!output?.text?.length) return;
            panel ??= addPanel(this, "text", 70);
            panel.tabIndex = 0;
            panel.textContent = output.text.join("\n");
        };
    },
});
