// Messages in the editor's corner: about other packs when it opens, remarks of nodes, and the sentence of an error.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { about } from "./about.js";

function show(severity, detail) {
    app.extensionManager.toast.add({ severity, summary: "HyperLoRA", detail });
}

const warn = (remark) => show("warn", remark);

app.registerExtension({
    name: "HyperLoRA.notices",
    async setup() {
        api.addEventListener("executed", ({ detail }) => detail?.output?.remarks?.forEach?.(warn));
        api.addEventListener("hyperlora.remark", ({ detail }) => warn(detail.remark));
        api.addEventListener("execution_error", ({ detail }) => {
            // The editor's own card names the node, and hides the sentence behind "View details".
            if (detail?.node_type?.startsWith("HyperLoRA")) show("error", detail.exception_message.trim());
        });
        about.notices.forEach(warn);
    },
});
