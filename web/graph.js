// Reads the graph before it runs: nodes, widgets, and what is wired to what.

const TEXTS = ["text", "text_g"];
const POSITIVE = /^(conditioning|positive(_NEW)?|cond(_NEW)?)$/;

/** Whether a node is one of the pack's, or of the public pack, whose nodes the pack has too. */
export const isOurs = (node) => Boolean(node.comfyClass?.startsWith("HyperLoRA"));

export function widgetOf(node, name) {
    return node?.widgets?.find((widget) => widget.name === name);
}

export function valueOf(node, name) {
    return widgetOf(node, name)?.value;
}

export function inputOf(node, name) {
    return node.inputs?.find((input) => input.name === name);
}

/** The node that an input is wired to, through reroutes; null if there is none, or if it lies outside the subgraph. */
export function sourceOf(node, input) {
    const link = node.graph?.getLink?.(input?.link);
    const source = link ? node.graph.getNodeById(link.origin_id) : null;
    return source?.type === "Reroute" ? sourceOf(source, source.inputs?.[0]) : source;
}

/** The source of each input that is wired and whose name starts with a prefix; null for each that is unknown. */
export function sourcesOf(node, prefix) {
    return node.inputs
        .filter((input) => input.name.startsWith(prefix) && input.link != null)
        .map((input) => sourceOf(node, input));
}

/** The types of sockets; a socket may take several. */
const types = (sockets) => (sockets ?? []).flatMap((socket) => String(socket.type).split(","));

/** Whether a LoRA takes effect at a node: it passes a model, hooks or a prompt on, or it samples. */
export function appliesLora(node) {
    const inputs = types(node.inputs), outputs = types(node.outputs);
    const samples = inputs.includes("MODEL") && inputs.includes("CONDITIONING");
    const passes = ["MODEL", "HOOKS", "CONDITIONING"].some((type) => outputs.includes(type));
    return samples || (passes && (inputs.includes("LORA") || inputs.includes("MODEL")));
}

export const loadsHyperLora = (node) => types(node.outputs).includes("HYPER_LORA");

/** The nodes that one follows from the first ones by next(node), with the first ones; each once, cycles or not. */
function reachable(nodes, next) {
    const visited = new Set(nodes);
    for (const node of visited) next(node).forEach((neighbour) => neighbour && visited.add(neighbour));
    return [...visited];
}

function targets(node, type) {
    return (node.outputs ?? [])
        .filter((output) => output.type === type)
        .flatMap((output) => output.links ?? [])
        .map((id) => node.graph.getLink?.(id))
        .map((link) => link && node.graph.getNodeById(link.target_id));
}

function sources(node, accepts) {
    return (node.inputs ?? []).filter(accepts).map((input) => sourceOf(node, input));
}

const positivePrompts = (node) => sources(node, (input) => POSITIVE.test(input.name));
const conditionings = (node) => sources(node, (input) => input.type === "CONDITIONING");
const models = (node) => sources(node, (input) => input.type === "MODEL");

/**
 * The widgets of the positive prompts that are sampled with what a node gives, as [node, widget]; null if one of their
 * texts comes over a wire, so that nobody knows it before the run.
 */
export function promptWidgets(node) {
    const own = positivePrompts(node);
    const users = (user) => [...targets(user, "MODEL"), ...targets(user, "HOOKS")];
    const prompts = own.length ? own : reachable([node], users).flatMap(positivePrompts);
    const encoders = reachable(prompts.filter(Boolean), conditionings)
        .filter((encoder) => /TextEncode/.test(encoder.comfyClass ?? ""));
    const widgets = encoders.flatMap((encoder) =>
        (encoder.widgets ?? []).filter((widget) => TEXTS.includes(widget.name)).map((widget) => [encoder, widget]));
    const isWired = ([encoder, widget]) => inputOf(encoder, widget.name)?.link != null;
    return widgets.some(isWired) ? null : widgets;
}

/** The files of the base models that a node's model is made of. */
export function baseModelFiles(node) {
    return reachable([node], models)
        .map((loader) => valueOf(loader, "ckpt_name") ?? valueOf(loader, "unet_name"))
        .filter((file) => file != null);
}
