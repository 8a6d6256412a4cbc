// The sentences of the pack's own elements in ComfyUI's language; locales/<language>/main.json has them.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

let sentences = {};
const listeners = new Set();

async function load(language) {
    const response = await api.fetchApi("/i18n").catch(() => null); // without an answer it is English
    sentences = (response?.ok ? await response.json() : {})[language]?.hyperlora ?? {};
    listeners.forEach((listener) => listener());
}

/** A sentence by its key, with the {names} in it replaced by values; the English one if the language lacks it. */
export function say(key, english, values = {}) {
    return (sentences[key] ?? english).replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}

/** Call back whenever the language changes; returns a function that stops it. */
export function onLanguage(listener) {
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
