// %Node.widget% in the names that the pack's nodes save by: the editor fills it in for ComfyUI's own nodes alone.
// Dates are left to the server, which fills them in for prompts over the API too.

import { app } from "../../scripts/app.js";
import { isOurs, widgetOf } from "./graph.js";

const replace = (text) => window.comfyAPI?.utils?.applyTextReplacements?.(app, text) ?? text;

/** A name with everything filled in but its dates. */
const fill = (name) =>
    name.split(/(%date:[^%]+%)/).map((part, i) => (i % 2 ? part : replace(part))).join("");

app.registerExtension({
    name: "HyperLoRA.saving",
    nodeCreated(node) {
        if (!isOurs(node)) return;
        const widget = widgetOf(node, "filename_prefix") ?? widgetOf(node, "name");
        if (widget) widget.serializeValue = () => fill(String(widget.value ?? ""));
    },
});
