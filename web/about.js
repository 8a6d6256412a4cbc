// What the server tells the editor about the pack, once.

import { app } from "../../scripts/app.js";
import { get } from "./ask.js";

/** The trigger words, the curves of schedules, and notices about other packs. */
export const about = { trigger_words: "", curves: {}, unfit_models: [], notices: [] };

app.registerExtension({
    name: "HyperLoRA.about",
    async init() {
        Object.assign(about, await get("/hyperlora/about").catch(() => ({})));
    },
});
