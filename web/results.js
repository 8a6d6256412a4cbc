// What a run found out, on its node: whom an identity is (a kept one before any run), the best likeness, where each region
// is, and, while a node works, at what it is.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { address, post } from "./ask.js";
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

/** The node that the server means: "2:1" is node 1 in the subgraph that node 2 is. */
function nodeOf(path) {
    let graph = app.rootGraph, node = null;
    for (const id of String(path).split(":")) {
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
    return [element("img", { src: address(thumbnail), alt: say("card.face", "The person's face") }), list];
}

function regionsCard(image) {
    return [element("img", { src: address(image), alt: say("regions.alt", "Where each person is") })];
}

/** Show whom a node's file is, whenever another one is chosen. */
function followFile(node, show) {
    const widget = node.widgets.find((each) => each.name === "identity_name");
    let shown = null;
    return everyTick(async () => {
        const name = widget.value;
        if (!node.graph || name === shown || !widget.options.values.includes(name)) return;
        shown = name;
        const children = await post("/hyperlora/identity", { name }).then(identityCard, ({ message }) => [
            element("p", { className: "hyperlora-warning", textContent: message }),
        ]);
        if (name === shown) show("card", 96, children);
    });
}

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
        let working = null;
        const done = () => {
            if (working) setBadge(working, "stage", "");
            working = null;
        };
        api.addEventListener("hyperlora.stage", ({ detail }) => {
            const node = nodeOf(detail.node);
            if (working !== node) done();
            working = node;
            if (node) setBadge(node, "stage", say(`stage.${detail.stage}`, STAGES[detail.stage], detail));
        });
        for (const event of ["executing", "executed", "execution_success", "execution_error", "execution_interrupted"]) {
            api.addEventListener(event, done);
        }
    },
    nodeCreated(node) {
        if (!node.comfyClass?.startsWith("HyperLoRA")) return;
        const { onExecuted, onRemoved } = node;
        const panels = {};
        const show = (name, height, children) => {
            panels[name] ??= addPanel(node, name, height);
            panels[name].replaceChildren(...children);
        };
        if (node.comfyClass === "HyperLoRALoadIdentity") {
            const end = followFile(node, show);
            node.onRemoved = function () {
                onRemoved?.apply(this, arguments);
                end();
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
                const text = score == null ? say("score.none", "no face") : say("score.best", "best {n}", { n: score.toFixed(2) });
                setBadge(this, "score", text);
            }
        };
    },
});
