// What an artist would find out only from an error or a bad picture, said on the node before it runs: a prompt without
// the trigger words, which a button inserts; a base model that is known not to work; a HyperLoRA that is not there.

import { app } from "../../scripts/app.js";
import { about } from "./about.js";
import { addPanel, change, element, removePanel } from "./panel.js";
import { onWords, say } from "./say.js";
import { sourceOf, valueOf } from "./sources.js";
import { everyTick } from "./tick.js";

const TEXTS = ["text", "text_g"];
const PROMPT = /^(conditioning|positive(_NEW)?|cond(_NEW)?)$/;

const types = (sockets) => (sockets ?? []).flatMap((socket) => String(socket.type).split(","));

/** Whether a node is one of ours; the public pack's nodes are, too. */
const isOurs = (node) => node.comfyClass?.startsWith("HyperLoRA");

/** Whether a LoRA takes effect by a node: it gives a model, hooks or a prompt on, or it draws by itself. */
function applies(node) {
    const takes = types(node.inputs), gives = types(node.outputs);
    const draws = takes.includes("MODEL") && takes.includes("CONDITIONING");
    const passes = ["MODEL", "HOOKS", "CONDITIONING"].some((type) => gives.includes(type));
    return draws || (passes && (takes.includes("LORA") || takes.includes("MODEL")));
}

/** Whether a node loads a HyperLoRA. */
const loads = (node) => types(node.outputs).includes("HYPER_LORA");

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

/** What is wired to the sockets of a node that take a positive prompt. */
function promptsOf(node) {
    return (node.inputs ?? []).flatMap((input, slot) => (PROMPT.test(input.name) ? [sourceOf(node, slot)] : []));
}

/** The widgets of the prompts that a model draws; null where a prompt comes from somewhere that is not seen. */
function prompts(node) {
    const own = promptsOf(node);
    const reading = (other) => targets(other, "MODEL").concat(targets(other, "HOOKS"));
    const first = own.length ? own : reached([node], reading).flatMap(promptsOf);
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
    if (loads(node)) return lackingModel(node);
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
        if (!isOurs(node) || !(applies(node) || loads(node))) return;
        const ends = [everyTick(() => look(node)), onWords(() => look(node))];
        const { onRemoved } = node;
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            ends.forEach((end) => end());
            panels.delete(node);
        };
    },
});
