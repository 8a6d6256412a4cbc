// A place for the pack's own elements on a node, in both of the front end's modes.

let serial = 0;

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./hyperlora.css", import.meta.url).href;
document.head.append(style);

/** An element on a node, that is no part of the workflow. */
export function addPanel(node, name, height) {
    const panel = document.createElement("div");
    panel.className = `hyperlora-panel hyperlora-${name}`;
    panel.style.minHeight = `${height}px`; // Nodes 2.0 knows no getMinHeight
    panel.dataset.captureWheel = "true";
    panel.addEventListener("keydown", (event) => {
        if (/^(Delete|Backspace)$/.test(event.key)) event.stopPropagation(); // they would delete the node
    });
    // The type has to be another for each: Nodes 2.0 keeps the old element after an undo otherwise.
    node.addDOMWidget(`hyperlora_${name}`, `hyperlora_${name}_${++serial}`, panel, {
        serialize: false,
        hideOnZoom: false,
        hideInPanel: true,
        getMinHeight: () => height + 10,
    }).serialize = false;
    node.setDirtyCanvas?.(true, true); // it stands nowhere, or over everything, until the canvas is drawn
    return panel;
}

/** Take such an element away again. */
export function removePanel(node, panel) {
    const widget = node.widgets.find((one) => one.element === panel);
    if (widget) node.removeWidget(widget);
    node.setDirtyCanvas?.(true, true);
}

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}

/** Change a widget as one step that can be undone. */
export function change(app, node, widget, value) {
    app.canvas.emitBeforeChange();
    widget.value = value;
    widget.callback?.(value);
    app.canvas.emitAfterChange();
}
