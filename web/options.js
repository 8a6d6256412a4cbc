// The options of the pack's nodes in the user's language, behind the value that workflows, prompts and manuals have.

import { app } from "../../scripts/app.js";
import { isOurs } from "./graph.js";
import { say } from "./say.js";

function label(value) {
    const text = String(value ?? "");
    const translation = say(`option.${text}`, text);
    return translation === text ? text : `${text} · ${translation}`;
}

app.registerExtension({
    name: "HyperLoRA.options",
    nodeCreated(node) {
        if (!isOurs(node)) return;
        for (const widget of node.widgets ?? []) {
            if (widget.type === "combo") widget.options.getOptionLabel ??= label;
        }
    },
});
