// Callbacks at even intervals: the editor has no event for a widget that changes on another node.

const INTERVAL = 700; // milliseconds
const callbacks = new Set();

setInterval(() => {
    if (!document.hidden) callbacks.forEach((callback) => callback());
}, INTERVAL);

/** Call back at even intervals while the page is visible; returns a function that stops it. */
export function everyTick(callback) {
    callbacks.add(callback);
    return () => callbacks.delete(callback);
}
