// What an artist would find out only from an error or a bad picture, said on the node before it runs: a prompt without
// the trigger words, which a button inserts; a base model that is known not to work; a HyperLoRA that is not there.

import { app } from "../../scripts/app.js";
import { about } from "./about.js";
import { addPanel, change, element, removePanel } from "./panel.js";
import { onWords, say } from "./say.js";
import { sourceOf, valueOf } from "./sources.js";
import { everyTick } from "./tick.js";

const APPLIED_BY = [
    "HyperLoRAPortrait",
    "HyperLoRAApply",
    "HyperLoRAApplyPerItem",
    "HyperLoRAApplyRegions",
    "HyperLoRAPersonForPrompt",
    "HyperLoRAApplyLoRA",
];
const LOADERS = ["HyperLoRALoadModel", "HyperLoRALoader", "HyperLoRAUniLoader"];
const TEXTS = ["text", "text_g"];

const slotOf = (node, name) => node.inputs?.findIndex((input) => input.name === name) ?? -1;

/** Every node that is found by going on from some; none is visited twice. */
function reached(start, next) {
    const found = new Set(start);
    for (const node of found) next(node).forEach((other) => other && found.add(other));
    return [...found];
}

function targets(node, type) {
    return (node.outputs ?? [])
        .filter((output) => output.type === type)
        .flatMap((output) => output.links ?? [])
        .map((id) => node.graph.getLink?.(id))
        .map((link) => link && node.graph.getNodeById(link.target_id));
}

function origins(node, type) {
    return (node.inputs ?? []).flatMap((input, slot) => (input.type === type ? [sourceOf(node, slot)] : []));
}

/** The widgets of the prompts that a model draws; null where a prompt comes from somewhere that is not seen. */
function prompts(node) {
    const own = slotOf(node, "conditioning");
    const samplers = reached([node], (other) => targets(other, "MODEL")).filter((other) => slotOf(other, "positive") >= 0);
    const first = own >= 0 ? [sourceOf(node, own)] : samplers.map((other) => sourceOf(other, slotOf(other, "positive")));
    const widgets = reached(first.filter(Boolean), (other) => origins(other, "CONDITIONING")).flatMap((other) =>
        /TextEncode/.test(other.comfyClass ?? "")
            ? (other.widgets ?? []).filter((widget) => TEXTS.includes(widget.name)).map((widget) => [other, widget])
            : [],
    );
    const linked = ([other, widget]) => other.inputs?.[slotOf(other, widget.name)]?.link != null;
    return widgets.some(linked) ? null : widgets;
}

const words = (text) => String(text).toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

function lacksTriggerWords(found) {
    const wanted = words(about.trigger_words);
    const has = ([, widget]) => wanted.every((word) => words(widget.value).includes(word));
    return Boolean(wanted.length && found?.length && !found.some(has));
}

/** The base model's file, if it is one of those that are known to fail. */
function unfitModel(node) {
    for (const other of reached([node], (one) => origins(one, "MODEL"))) {
        const file = valueOf(other, "ckpt_name") ?? valueOf(other, "unet_name");
        const name = String(file ?? "").toLowerCase().replace(/[^a-z0-9]/g, "");
        if (about.unfit_models.some((unfit) => name.includes(unfit))) return file;
    }
    return null;
}

function line(text, label, click) {
    const button = element("button", { type: "button", textContent: label });
    button.addEventListener("click", click);
    return element("div", { className: "hyperlora-line" }, element("span", { textContent: text }), button);
}

function lackingModel(node) {
    const widget = node.widgets?.find((each) => each.name === "model");
    if (!widget || widget.options?.values?.includes(widget.value)) return [];
    const text = say("warnings.missing", "There is no HyperLoRA of this name.");
    const open = () => app.extensionManager.command.execute("HyperLoRA.Models");
    return [line(text, say("models.title", "HyperLoRA models"), open)];
}

function lines(node) {
    if (LOADERS.includes(node.comfyClass)) return lackingModel(node);
    const found = prompts(node), unfit = unfitModel(node), made = [];
    if (lacksTriggerWords(found)) {
        const text = say("warnings.trigger", "The prompt lacks the trigger words: {words}", { words: about.trigger_words });
        const insert = () => {
            const [encoder, widget] = found[0];
            change(app, encoder, widget, `${about.trigger_words}, ${widget.value}`);
            look(node);
        };
        made.push(line(text, say("warnings.insert", "Insert"), insert));
    }
    if (unfit) {
        const text = say("warnings.unfit", "{file} is known not to work with the released HyperLoRA.", { file: unfit });
        made.push(element("div", { textContent: text }));
    }
    return made;
}

const panels = new Map();

function look(node) {
    if (!node.graph) return;
    const made = node.mode === 4 ? [] : lines(node); // 4 is bypassed
    const said = made.map((line) => line.textContent).join("\n");
    const panel = panels.get(node);
    if (!made.length && panel) {
        removePanel(node, panel);
        panels.delete(node);
    } else if (made.length && panel?.dataset.said !== said) {
        const shown = panel ?? addPanel(node, "warnings", 44);
        shown.role = "status";
        shown.dataset.said = said;
        shown.replaceChildren(...made);
        panels.set(node, shown);
    }
}

app.registerExtension({
    name: "HyperLoRA.warnings",
    nodeCreated(node) {
        if (![...APPLIED_BY, ...LOADERS].includes(node.comfyClass)) return;
        const ends = [everyTick(() => look(node)), onWords(() => look(node))];
        const { onRemoved } = node;
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            ends.forEach((end) => end());
            panels.delete(node);
        };
    },
});
