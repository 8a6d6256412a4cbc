// The page About of the pack's settings: the report that belongs to a bug, made when the user asks for it, and copied.

import { get } from "./ask.js";
import { element } from "./panel.js";
import { say } from "./say.js";

/** Copy an element's text; whether that worked. The text is selected either way, so that Ctrl+C copies it too. */
async function copy(source) {
    getSelection().selectAllChildren(source);
    try {
        await navigator.clipboard.writeText(source.textContent);
    } catch {
        return document.execCommand("copy"); // the clipboard above needs https
    }
    return true;
}

/** The element that the settings' dialog has in place of a setting. */
export function aboutPage() {
    const report = element("pre", { className: "hyperlora-report", tabIndex: 0 });
    const status = element("span", { role: "status" });
    const showButton = element("button", { type: "button", textContent: say("doctor.show", "Show report") });
    const copyButton = element("button", { type: "button", textContent: say("doctor.copy", "Copy report") });
    report.hidden = copyButton.disabled = true;
    showButton.addEventListener("click", async () => {
        showButton.disabled = true;
        status.textContent = say("doctor.looking", "Looking at models and packs …");
        try {
            report.textContent = (await get("/hyperlora/doctor")).text;
            report.hidden = copyButton.disabled = false;
            status.textContent = say(
                "doctor.read",
                "Read it before you post it: it names no person, and no path of yours.",
            );
        } catch (error) {
            status.textContent = error.message;
        }
        showButton.disabled = false;
    });
    copyButton.addEventListener("click", async () => {
        status.textContent = (await copy(report))
            ? say("doctor.copied", "Copied")
            : say("doctor.select", "It is selected: copy it by Ctrl+C.");
    });
    const line = element("div", { className: "hyperlora-line" }, showButton, copyButton, status);
    return element("div", { className: "hyperlora-panel hyperlora-about" }, line, report);
}
