// The dialog of models: what is there, what is missing and where it was looked for, and downloads on request.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { get, post } from "./ask.js";
import { element } from "./panel.js";
import { say } from "./say.js";

let dialog = null, body = null;
let download = {};

function button(text, click) {
    const made = element("button", { type: "button", textContent: text });
    made.addEventListener("click", click);
    return made;
}

function state(model) {
    if (model.found) return [element("p", { className: "hyperlora-there", textContent: `✓ ${model.found}` })];
    return [
        element("p", { className: "hyperlora-warning", textContent: say("models.missing", "Missing: {files}", { files: model.missing.join(", ") }) }),
        element("p", { className: "hyperlora-small", textContent: say("models.searched", "Looked for in: {folders}", { folders: model.searched }) }),
    ];
}

function progress() {
    const { done, total, file } = download;
    const share = total ? Math.floor((100 * done) / total) : 0;
    const bar = element("progress", { max: 100, value: share, ariaLabel: say("models.progress", "Downloaded") });
    const name = file.split("/").at(-1);
    const text = total ? `${name}: ${share} % (${done >> 20} / ${total >> 20} MB)` : say("models.asking", "Asking the hub …");
    const stop = button(say("models.stop", "Stop"), () => post("/hyperlora/download/stop", {}).catch(() => draw()));
    return element("div", { className: "hyperlora-line" }, bar, element("span", { textContent: text }), stop);
}

function offer(model) {
    const { licence } = model;
    const accept = element("input", { type: "checkbox" });
    accept.checked = app.extensionManager.setting.get("HyperLoRA.Licences.Accepted") === true;
    const link = element("a", { href: licence.url, target: "_blank", rel: "noreferrer", textContent: licence.name });
    const label = element("label", {}, accept, ` ${say("models.accept", "I accept the licence")} `, link);
    const begin = button(say("models.download", "Download ({n} MB)", { n: model.megabytes }), async () => {
        try {
            await post("/hyperlora/download", { name: model.name, accept_licence: accept.checked });
        } catch (error) {
            failure.textContent = error.message;
        }
    });
    const failure = element("p", { className: "hyperlora-warning", role: "alert" });
    if (download.name === model.name && download.error) failure.textContent = download.error;
    begin.disabled = !accept.checked;
    accept.addEventListener("change", () => (begin.disabled = !accept.checked));
    return [
        element("p", { className: "hyperlora-small", textContent: licence.summary }),
        element("div", { className: "hyperlora-line" }, label, begin),
        failure,
    ];
}

function section(model) {
    const needed = model.needed ? say("models.needed", "needed") : say("models.optional", "optional");
    const made = element("section", {}, element("h3", { textContent: `${model.title} (${needed})` }), ...state(model));
    made.dataset.model = model.name;
    if (!model.found) made.append(...(download.running && download.name === model.name ? [progress()] : offer(model)));
    return made;
}

async function draw() {
    if (!dialog?.open) return;
    try {
        const answer = await get("/hyperlora/models");
        download = answer.download;
        body.replaceChildren(...answer.models.map(section));
    } catch (error) {
        body.replaceChildren(element("p", { className: "hyperlora-warning", textContent: error.message }));
    }
}

function open() {
    if (!dialog) {
        body = element("div", { className: "hyperlora-models" });
        const title = element("h2", {});
        const close = button("", () => dialog.close());
        dialog = element("dialog", { className: "hyperlora-panel hyperlora-dialog" }, title, body, close);
        dialog.setAttribute("aria-labelledby", (title.id = "hyperlora-models-title"));
        dialog.addEventListener("keydown", (event) => event.stopPropagation()); // they are shortcuts of the editor
        document.body.append(dialog);
    }
    dialog.querySelector("h2").textContent = say("models.title", "HyperLoRA models");
    dialog.lastElementChild.textContent = say("models.close", "Close");
    if (!dialog.open) dialog.showModal();
    draw();
}

app.registerExtension({
    name: "HyperLoRA.models",
    commands: [{ id: "HyperLoRA.Models", label: "HyperLoRA models", icon: "pi pi-download", function: open }],
    menuCommands: [{ path: ["HyperLoRA"], commands: ["HyperLoRA.Models"] }],
    setup() {
        api.addEventListener("reconnected", draw);
        api.addEventListener("hyperlora.download", ({ detail }) => {
            const began = detail.running !== download.running || detail.name !== download.name;
            download = detail;
            const shown = body?.querySelector(`[data-model="${detail.name}"] .hyperlora-line`);
            if (began || !detail.running || !shown) draw();
            else shown.replaceWith(progress());
        });
    },
});
