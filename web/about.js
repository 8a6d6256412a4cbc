// What the server tells the editor about the pack, once.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

/** The trigger words, the curves of schedules, and notices about other packs. */
export const about = { trigger_words: "", curves: {}, unfit_models: [], notices: [] };

app.registerExtension({
    name: "HyperLoRA.about",
    async init() {
        const response = await api.fetchApi("/hyperlora/about");
        if (response.ok) Object.assign(about, await response.json());
    },
});
