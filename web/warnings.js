// Warnings on a node before it runs, about what would end in an error or a bad picture: a prompt without the trigger
// words, which a button inserts; a base model that is known to fail; a HyperLoRA that is not installed.

import { app } from "../../scripts/app.js";
import { about } from "./about.js";
import { appliesLora, baseModelFiles, isOurs, loadsHyperLora, promptWidgets, widgetOf } from "./graph.js";
import { addPanel, change, element, removePanel } from "./panel.js";
import { isUnfit, lacksTriggerWords, withTriggerWords } from "./prompts.js";
import { onLanguage, say } from "./say.js";
import { everyTick } from "./tick.js";

const BYPASSED = 4; // node.mode

function line(text, label, onClick) {
    const button = element("button", { type: "button", textContent: label });
    button.addEventListener("click", onClick);
    return element("div", { className: "hyperlora-line" }, element("span", { textContent: text }), button);
}

function modelWarnings(node) {
    const widget = widgetOf(node, "model");
    if (!widget || widget.options?.values?.includes(widget.value)) return [];
    const text = say("warnings.missing", "There is no HyperLoRA of this name.");
    const open = () => app.extensionManager.command.execute("HyperLoRA.Models");
    return [line(text, say("models.title", "HyperLoRA models"), open)];
}

function promptWarnings(node) {
    const prompts = promptWidgets(node);
    const words = about.trigger_words;
    if (!prompts || !lacksTriggerWords(prompts.map(([, widget]) => widget.value), words)) return [];
    const text = say("warnings.trigger", "The prompt lacks the trigger words: {words}", { words });
    const insert = () => {
        const [encoder, widget] = prompts[0];
        change(app, encoder, widget, withTriggerWords(widget.value, words));
        refresh(node);
    };
    return [line(text, say("warnings.insert", "Insert"), insert)];
}

function baseModelWarnings(node) {
    const file = baseModelFiles(node).find((name) => isUnfit(name, about.unfit_models));
    if (file == null) return [];
    const text = say("warnings.unfit", "{file} is known not to work with the released HyperLoRA.", { file });
    return [element("div", { textContent: text })];
}

function warnings(node) {
    if (node.mode === BYPASSED) return [];
    return loadsHyperLora(node) ? modelWarnings(node) : [...promptWarnings(node), ...baseModelWarnings(node)];
}

const panels = new Map();

/** Show the warnings that a node has; its panel exists only while there are any. */
function refresh(node) {
    if (!node.graph) return;
    const elements = warnings(node);
    const text = elements.map((warning) => warning.textContent).join("\n");
    const panel = panels.get(node);
    if (!elements.length && panel) {
        removePanel(node, panel);
        panels.delete(node);
    } else if (elements.length && panel?.dataset.text !== text) {
        const target = panel ?? addPanel(node, "warnings", 44);
        target.role = "status";
        target.dataset.text = text;
        target.replaceChildren(...elements);
        panels.set(node, target);
    }
}

app.registerExtension({
    name: "HyperLoRA.warnings",
    nodeCreated(node) {
        if (!isOurs(node) || !(appliesLora(node) || loadsHyperLora(node))) return;
        const stops = [everyTick(() => refresh(node)), onLanguage(() => refresh(node))];
        const { onRemoved } = node;
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            stops.forEach((stop) => stop());
            panels.delete(node);
        };
    },
});
