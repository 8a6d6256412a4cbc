// The pack's own elements on nodes: drawn on a canvas, or as Vue components (Nodes 2.0).

let serial = 0;

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./hyperlora.css", import.meta.url).href;
document.head.append(style);

/** A new element on a node, at least so many pixels high; no workflow saves it. */
export function addPanel(node, name, height) {
    const panel = element("div", { className: `hyperlora-panel hyperlora-${name}` });
    panel.style.minHeight = `${height}px`; // Nodes 2.0 ignores getMinHeight
    panel.dataset.captureWheel = "true";
    panel.addEventListener("keydown", (event) => {
        if (/^(Delete|Backspace)$/.test(event.key)) event.stopPropagation(); // the editor would delete the node
    });
    // Each has a type of its own: otherwise Nodes 2.0 keeps the old element after an undo.
    node.addDOMWidget(`hyperlora_${name}`, `hyperlora_${name}_${++serial}`, panel, {
        serialize: false,
        hideOnZoom: false,
        hideInPanel: true,
        getMinHeight: () => height + 10,
    }).serialize = false;
    node.setDirtyCanvas?.(true, true); // the panel has no place, or covers everything, until the canvas is drawn
    return panel;
}

export function removePanel(node, panel) {
    const widget = node.widgets.find((candidate) => candidate.element === panel);
    if (widget) node.removeWidget(widget);
    node.setDirtyCanvas?.(true, true);
}

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
}

/** Set a widget's value as one step that can be undone. */
export function change(app, node, widget, value) {
    app.canvas.emitBeforeChange();
    widget.value = value;
    widget.callback?.(value);
    app.canvas.emitAfterChange();
}
