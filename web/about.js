// What the server tells the editor about the pack, once.

import { app } from "../../scripts/app.js";
import { get } from "./ask.js";

/**
 * As nodes/about.py gives it: the trigger words; each preset of a schedule as factors at even steps; parts of the names
 * of base models that are known to fail; sentences about other packs.
 */
export const about = { trigger_words: "", curves: {}, unfit_models: [], notices: [] };

app.registerExtension({
    name: "HyperLoRA.about",
    async init() {
        Object.assign(about, await get("/hyperlora/about").catch(() => ({})));
    },
});
