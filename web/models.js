// The dialog of models: which are installed, which are missing and where they were looked for, and their downloads.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { get, post } from "./ask.js";
import { element } from "./panel.js";
import { say } from "./say.js";

let dialog = null, body = null;
let download = {}; // the running or the last one, as nodes/downloads.py describes it

function button(text, onClick) {
    const control = element("button", { type: "button", textContent: text });
    control.addEventListener("click", onClick);
    return control;
}

const paragraph = (className, textContent) => element("p", { className, textContent });

function state(model) {
    if (model.found) return [element("p", { textContent: `✓ ${model.found}` })];
    const files = model.missing.join(", ");
    return [
        paragraph("hyperlora-warning", say("models.missing", "Missing: {files}", { files })),
        paragraph("hyperlora-small", say("models.searched", "Looked for in: {folders}", { folders: model.searched })),
    ];
}

function progress() {
    const { done, total, file } = download;
    const percent = total ? Math.floor((100 * done) / total) : 0;
    const bar = element("progress", { max: 100, value: percent, ariaLabel: say("models.progress", "Downloaded") });
    const name = file.split("/").at(-1);
    const text = total
        ? `${name}: ${percent} % (${done >> 20} / ${total >> 20} MB)`
        : say("models.asking", "Asking the hub …");
    const stop = button(say("models.stop", "Stop"), () => post("/hyperlora/download/stop", {}).catch(() => draw()));
    return element("div", { className: "hyperlora-line" }, bar, element("span", { textContent: text }), stop);
}

function offer(model) {
    const { licence } = model;
    const accept = element("input", { type: "checkbox" });
    accept.checked = app.extensionManager.setting.get("HyperLoRA.Licences.Accepted") === true;
    const link = element("a", { href: licence.url, target: "_blank", rel: "noreferrer", textContent: licence.name });
    const label = element("label", {}, accept, ` ${say("models.accept", "I accept the licence")} `, link);
    const failure = element("p", { className: "hyperlora-warning", role: "alert" });
    if (download.name === model.name && download.error) failure.textContent = download.error;
    const start = button(say("models.download", "Download ({n} MB)", { n: model.megabytes }), async () => {
        try {
            await post("/hyperlora/download", { name: model.name, accept_licence: accept.checked });
        } catch (error) {
            failure.textContent = error.message;
        }
    });
    start.disabled = !accept.checked;
    accept.addEventListener("change", () => (start.disabled = !accept.checked));
    return [
        paragraph("hyperlora-small", licence.summary),
        element("div", { className: "hyperlora-line" }, label, start),
        failure,
    ];
}

function section(model) {
    const need = model.needed ? say("models.needed", "needed") : say("models.optional", "optional");
    const heading = element("h3", { textContent: `${model.title} (${need})` });
    const parts = [heading, ...state(model)];
    const isDownloading = download.running && download.name === model.name;
    if (!model.found) parts.push(...(isDownloading ? [progress()] : offer(model)));
    const container = element("section", {}, ...parts);
    container.dataset.model = model.name;
    return container;
}

async function draw() {
    if (!dialog?.open) return;
    try {
        const answer = await get("/hyperlora/models");
        download = answer.download;
        body.replaceChildren(...answer.models.map(section));
    } catch (error) {
        body.replaceChildren(paragraph("hyperlora-warning", error.message));
    }
}

function open() {
    if (!dialog) {
        body = element("div", { className: "hyperlora-models" });
        const title = element("h2", { id: "hyperlora-models-title" });
        const close = button("", () => dialog.close());
        dialog = element("dialog", { className: "hyperlora-panel hyperlora-dialog" }, title, body, close);
        dialog.setAttribute("aria-labelledby", title.id);
        dialog.addEventListener("keydown", (event) => event.stopPropagation()); // keys are shortcuts of the editor
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
            const isNew = detail.running !== download.running || detail.name !== download.name;
            download = detail;
            const line = body?.querySelector(`[data-model="${detail.name}"] .hyperlora-line`);
            if (isNew || !detail.running || !line) draw();
            else line.replaceWith(progress());
        });
    },
});
