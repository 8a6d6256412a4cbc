// What the pack has to say that is no error: about other packs when the editor opens, and about photos when a node has run.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

function say(detail) {
    app.extensionManager.toast.add({ severity: "warn", summary: "HyperLoRA", detail });
}

app.registerExtension({
    name: "HyperLoRA.notices",
    async setup() {
        api.addEventListener("executed", ({ detail }) => detail?.output?.remarks?.forEach?.(say));
        const response = await api.fetchApi("/hyperlora/notices");
        if (response.ok) (await response.json()).forEach(say);
    },
});
