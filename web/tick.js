// Looks at the graph now and then: nothing in the editor tells of a widget that changed on another node.

const EVERY = 700; // milliseconds
const looks = new Set();

setInterval(() => {
    if (!document.hidden) looks.forEach((look) => look());
}, EVERY);

/** Call back regularly while the page is seen; gives a function that ends it. */
export function everyTick(look) {
    looks.add(look);
    return () => looks.delete(look);
}
