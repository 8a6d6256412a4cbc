// Where the values of a node's inputs come from, as far as the graph tells before it runs.

/** The node that an input is connected with, through reroutes; null at the edge of a subgraph, and where there is none. */
export function sourceOf(node, slot) {
    const link = node.graph?.getLink?.(node.inputs[slot]?.link);
    const source = link ? node.graph.getNodeById(link.origin_id) : null;
    return source?.type === "Reroute" ? sourceOf(source, 0) : source;
}

/** The nodes that inputs are connected with whose names begin in a way, or a null for each that is not known. */
export function sourcesOf(node, prefix) {
    return node.inputs.flatMap((input, slot) =>
        input.name.startsWith(prefix) && input.link != null ? [sourceOf(node, slot)] : [],
    );
}

/** A widget's value. */
export function valueOf(node, name) {
    return node?.widgets?.find((widget) => widget.name === name)?.value;
}
