// The results of a node on the node: an identity's card (a saved identity's before any run), the best likeness, the
// regions, what found the faces; and, while the node runs, its stage.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { imageUrl, post } from "./ask.js";
import { isOurs, widgetOf } from "./graph.js";
import { addPanel, element } from "./panel.js";
import { say } from "./say.js";
import { everyTick } from "./tick.js";

const STAGES = {
    faces: "Looking for faces …",
    encode: "Encoding the photos …",
    lora: "Making the LoRA …",
    sample: "Drawing picture {n} of {all} …",
    judge: "Judging …",
    refine: "Drawing face {n} again …",
};

/** The node of an execution id: "2:1" is node 1 in the subgraph of node 2. */
function nodeOf(executionId) {
    let graph = app.rootGraph, node = null;
    for (const id of String(executionId).split(":")) {
        node = graph?.getNodeById(id) ?? null;
        graph = node?.subgraph;
    }
    return node;
}

function identityCard({ thumbnail, photos, checkpoint, agreement, parts }) {
    const facts = [
        say("card.photos", "Photos: {n}", { n: photos }),
        agreement == null ? "" : say("card.agreement", "Agreement: {n}", { n: agreement.toFixed(2) }),
        say("card.parts", "Parts: {parts}", { parts }),
        say("card.checkpoint", "Made with {name}", { name: checkpoint }),
    ];
    const list = element("ul", {}, ...facts.filter(Boolean).map((fact) => element("li", { textContent: fact })));
    if (!thumbnail) return [list];
    return [element("img", { src: imageUrl(thumbnail), alt: say("card.face", "The person's face") }), list];
}

function regionsCard(image) {
    return [element("img", { src: imageUrl(image), alt: say("regions.alt", "Where each person is") })];
}

/** Show the card of the identity's file whenever another file is chosen; returns a function that stops it. */
function followFile(node, widget, show) {
    let last = null;
    return everyTick(async () => {
        const name = widget.value;
        if (!node.graph || name === last || !widget.options.values.includes(name)) return;
        last = name;
        const children = await post("/hyperlora/identity", { name }).then(identityCard, ({ message }) => [
            element("p", { className: "hyperlora-warning", textContent: message }),
        ]);
        if (name === last) show("card", 96, children);
    });
}

/** Set the text of one of a node's badges, of which each has a key. */
function setBadge(node, key, text) {
    const badges = (node.hyperloraBadges ??= {});
    if (!(key in badges)) {
        node.badges.push(() => new window.LGraphBadge({ text: badges[key], fgColor: "#fff", bgColor: "#2f6f3e" }));
    }
    badges[key] = text;
    node.setDirtyCanvas?.(true, true);
}

app.registerExtension({
    name: "HyperLoRA.results",
    setup() {
        let running = null;
        const clear = () => {
            if (running) setBadge(running, "stage", "");
            running = null;
        };
        api.addEventListener("hyperlora.stage", ({ detail }) => {
            const node = nodeOf(detail.node);
            if (running !== node) clear();
            running = node;
            if (node) setBadge(node, "stage", say(`stage.${detail.stage}`, STAGES[detail.stage], detail));
        });
        const ends = ["executing", "executed", "execution_success", "execution_error", "execution_interrupted"];
        ends.forEach((event) => api.addEventListener(event, clear));
    },
    nodeCreated(node) {
        if (!isOurs(node)) return;
        const { onExecuted, onRemoved } = node;
        const panels = {};
        const show = (name, height, children) => {
            panels[name] ??= addPanel(node, name, height);
            panels[name].replaceChildren(...children);
        };
        const fileWidget = widgetOf(node, "identity_name");
        if (fileWidget) {
            const stop = followFile(node, fileWidget, show);
            node.onRemoved = function () {
                onRemoved?.apply(this, arguments);
                stop();
            };
        }
        node.onExecuted = function (output) {
            onExecuted?.apply(this, arguments);
            if (output?.hyperlora_identity) show("card", 96, identityCard(output.hyperlora_identity[0]));
            if (output?.hyperlora_regions) show("regions", 140, regionsCard(output.hyperlora_regions[0]));
            if (output?.hyperlora_found_by) {
                setBadge(this, "found_by", say("faces.found_by", "faces: {by}", { by: output.hyperlora_found_by[0] }));
            }
            if (output?.hyperlora_score) {
                const [score] = output.hyperlora_score;
                const best = score == null
                    ? say("score.none", "no face")
                    : say("score.best", "best {n}", { n: score.toFixed(2) });
                setBadge(this, "score", best);
            }
        };
    },
});
