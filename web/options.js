// The options of our nodes in the reader's language, each after the value that workflows, prompts and manuals name.

import { app } from "../../scripts/app.js";
import { say } from "./say.js";

function label(value) {
    const word = say(`option.${value}`, String(value ?? ""));
    return word === value ? word : `${value} · ${word}`;
}

app.registerExtension({
    name: "HyperLoRA.options",
    nodeCreated(node) {
        if (!node.comfyClass?.startsWith("HyperLoRA")) return;
        for (const widget of node.widgets ?? []) {
            if (widget.type === "combo") widget.options.getOptionLabel ??= label;
        }
    },
});
