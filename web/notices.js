// Notices of the server about other packs, shown when the editor opens.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

app.registerExtension({
    name: "HyperLoRA.notices",
    async setup() {
        const response = await api.fetchApi("/hyperlora/notices");
        if (!response.ok) return;
        for (const detail of await response.json())
            app.extensionManager.toast.add({ severity: "warn", summary: "HyperLoRA", detail });
    },
});
