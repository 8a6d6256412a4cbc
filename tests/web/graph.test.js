// What is read out of a graph: sources through reroutes, prompts behind samplers, base models.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
    appliesLora,
    baseModelFiles,
    inputOf,
    isOurs,
    loadsHyperLora,
    promptWidgets,
    sourceOf,
    sourcesOf,
    valueOf,
} from "../../web/graph.js";

/** A graph as LiteGraph has it: add nodes, and wire output 0 of one to an input of another. */
class Graph {
    nodes = [];
    links = [];

    add(comfyClass, { inputs = {}, outputs = [], widgets = {} } = {}) {
        const node = {
            graph: this,
            id: this.nodes.length,
            comfyClass,
            type: comfyClass,
            inputs: Object.entries(inputs).map(([name, type]) => ({ name, type, link: null })),
            outputs: outputs.map((type) => ({ type, links: [] })),
            widgets: Object.entries(widgets).map(([name, value]) => ({ name, value })),
        };
        this.nodes.push(node);
        return node;
    }

    wire(from, to, name) {
        const link = this.links.push({ origin_id: from.id, target_id: to.id }) - 1;
        const input = to.inputs.find((candidate) => candidate.name === name);
        from.outputs.find((output) => output.type === input.type || output.type === "*").links.push(link);
        input.link = link;
    }

    getLink(id) {
        return this.links[id];
    }

    getNodeById(id) {
        return this.nodes[id] ?? null;
    }
}

const SAMPLER = { inputs: { model: "MODEL", positive: "CONDITIONING", negative: "CONDITIONING" }, outputs: ["LATENT"] };
const APPLY = { inputs: { model: "MODEL", lora: "LORA,LORA_MODEL" }, outputs: ["MODEL"] };
const encoder = (text) => ({ inputs: { text: "STRING" }, outputs: ["CONDITIONING"], widgets: { text } });

/** checkpoint -> HyperLoRAApply -> KSampler, with a positive and a negative prompt. */
function portrait() {
    const graph = new Graph();
    const file = { ckpt_name: "xl.safetensors" };
    const checkpoint = graph.add("CheckpointLoaderSimple", { outputs: ["MODEL"], widgets: file });
    const apply = graph.add("HyperLoRAApply", APPLY);
    const sampler = graph.add("KSampler", SAMPLER);
    const positive = graph.add("CLIPTextEncode", encoder("a garden"));
    const negative = graph.add("CLIPTextEncode", encoder("blurry"));
    graph.wire(checkpoint, apply, "model");
    graph.wire(apply, sampler, "model");
    graph.wire(positive, sampler, "positive");
    graph.wire(negative, sampler, "negative");
    return { graph, checkpoint, apply, sampler, positive };
}

const texts = (widgets) => widgets.map(([, widget]) => widget.value);

test("a source is found through reroutes, and null where nothing is wired", () => {
    const graph = new Graph();
    const photo = graph.add("LoadImage", { outputs: ["IMAGE"], widgets: { image: "me.png" } });
    const reroute = graph.add("Reroute", { inputs: { "": "*" }, outputs: ["*"] });
    const faces = graph.add("HyperLoRADetectFaces", {
        inputs: { "images.image0": "IMAGE", "images.image1": "IMAGE", "images.image2": "IMAGE", reference: "IMAGE" },
    });
    photo.outputs.push({ type: "*", links: [] });
    graph.wire(photo, reroute, "");
    graph.wire(reroute, faces, "images.image1");
    graph.links.push({ origin_id: -10, target_id: faces.id }); // the edge of a subgraph
    inputOf(faces, "images.image2").link = graph.links.length - 1;
    assert.equal(sourceOf(faces, inputOf(faces, "images.image1")), photo);
    assert.equal(sourceOf(faces, inputOf(faces, "reference")), null);
    assert.equal(sourceOf(faces, inputOf(faces, "absent")), null);
    assert.deepEqual(sourcesOf(faces, "images."), [photo, null]);
    assert.equal(valueOf(photo, "image"), "me.png");
    assert.equal(valueOf(null, "image"), undefined);
});

test("nodes are told by their class and their sockets", () => {
    const graph = new Graph();
    const { apply, sampler, checkpoint } = portrait();
    const loader = graph.add("HyperLoRALoadModel", { outputs: ["HYPER_LORA", "STRING"] });
    const hook = graph.add("HyperLoRACreateHook", { inputs: { lora: "LORA,LORA_MODEL" }, outputs: ["HOOKS"] });
    const generate = graph.add("HyperLoRAGenerate", { inputs: { hyper_lora: "HYPER_LORA" }, outputs: ["LORA"] });
    assert.deepEqual([apply, sampler, hook, loader, generate].map(appliesLora), [true, true, true, false, false]);
    assert.deepEqual([loader, generate, apply].map(loadsHyperLora), [true, false, false]);
    assert.deepEqual([apply, checkpoint, {}].map(isOurs), [true, false, false]);
});

test("the positive prompts of the samplers behind a node are read", () => {
    const { graph, apply, sampler } = portrait();
    assert.deepEqual(texts(promptWidgets(apply)), ["a garden"]);
    assert.deepEqual(texts(promptWidgets(sampler)), ["a garden"], "a node that samples has its own");

    const combine = graph.add("ConditioningCombine", {
        inputs: { conditioning_1: "CONDITIONING", conditioning_2: "CONDITIONING" },
        outputs: ["CONDITIONING"],
    });
    const second = graph.add("CLIPTextEncodeSDXL", { ...encoder(""), widgets: { text_g: "a beach", text_l: "waves" } });
    graph.wire(graph.nodes.find((node) => valueOf(node, "text") === "a garden"), combine, "conditioning_1");
    graph.wire(second, combine, "conditioning_2");
    graph.wire(combine, sampler, "positive");
    assert.deepEqual(texts(promptWidgets(apply)).sort(), ["a beach", "a garden"]);
});

test("a prompt that comes over a wire is unknown", () => {
    const { graph, apply, positive } = portrait();
    const text = graph.add("PrimitiveString", { outputs: ["STRING"] });
    graph.wire(text, positive, "text");
    assert.equal(promptWidgets(apply), null);
});

test("hooks lead to the prompt that they are set on", () => {
    const { graph, positive } = portrait();
    const hook = graph.add("HyperLoRACreateHook", { inputs: { lora: "LORA,LORA_MODEL" }, outputs: ["HOOKS"] });
    const set = graph.add("ConditioningSetProperties", {
        inputs: { cond_NEW: "CONDITIONING", hooks: "HOOKS" },
        outputs: ["CONDITIONING"],
    });
    graph.wire(hook, set, "hooks");
    assert.deepEqual(promptWidgets(hook), []);
    graph.wire(positive, set, "cond_NEW");
    assert.deepEqual(texts(promptWidgets(hook)), ["a garden"]);
});

test("the files of the base models before a node are found, in a cycle too", () => {
    const { graph, checkpoint, apply } = portrait();
    const merge = graph.add("ModelMergeSimple", { inputs: { model1: "MODEL", model2: "MODEL" }, outputs: ["MODEL"] });
    const unet = graph.add("UNETLoader", { outputs: ["MODEL"], widgets: { unet_name: "unet.safetensors" } });
    graph.wire(checkpoint, merge, "model1");
    graph.wire(unet, merge, "model2");
    graph.wire(merge, apply, "model");
    assert.deepEqual(baseModelFiles(apply).sort(), ["unet.safetensors", "xl.safetensors"]);
    graph.wire(apply, merge, "model2");
    assert.deepEqual(baseModelFiles(apply), ["xl.safetensors"]);
});
