// What the pack's own elements say, in the language that ComfyUI is set to; locales/<language>/main.json has the words.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

let words = {};
const listeners = new Set();

async function load(language) {
    const response = await api.fetchApi("/i18n").catch(() => null); // without them it is English
    words = (response?.ok ? await response.json() : {})[language]?.hyperlora ?? {};
    listeners.forEach((listener) => listener());
}

/** A sentence by its key, with the {names} in it filled in; the English one where the language lacks it. */
export function say(key, english, values = {}) {
    return (words[key] ?? english).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Call back whenever the words are other ones; gives a function that ends it. */
export function onWords(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

app.registerExtension({
    name: "HyperLoRA.say",
    async setup() {
        app.ui.settings.addEventListener("Comfy.Locale.change", (event) => load(event.detail.value));
        await load(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en");
    },
});
