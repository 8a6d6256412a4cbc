// The page About of the pack's settings: what a report of a bug needs, shown when it is asked for, and copied.

import { get } from "./ask.js";
import { element } from "./panel.js";
import { say } from "./say.js";

async function copy(shown) {
    getSelection().selectAllChildren(shown); // so that Ctrl+C does it, where the page may not
    try {
        await navigator.clipboard.writeText(shown.textContent);
    } catch {
        return document.execCommand("copy"); // without https there is no clipboard but this
    }
    return true;
}

/** What the settings' dialog shows in the place of a setting. */
export function aboutPage() {
    const shown = element("pre", { className: "hyperlora-report", tabIndex: 0 });
    const status = element("span", { role: "status" });
    const show = element("button", { type: "button", textContent: say("doctor.show", "Show report") });
    const copied = element("button", { type: "button", textContent: say("doctor.copy", "Copy report"), disabled: true });
    shown.hidden = true;
    show.addEventListener("click", async () => {
        show.disabled = true;
        status.textContent = say("doctor.looking", "Looking at models and packs …");
        try {
            shown.textContent = (await get("/hyperlora/doctor")).text;
            shown.hidden = copied.disabled = false;
            status.textContent = say("doctor.read", "Read it before you post it: it names no person, and no path of yours.");
        } catch (error) {
            status.textContent = error.message;
        }
        show.disabled = false;
    });
    copied.addEventListener("click", async () => {
        status.textContent = (await copy(shown))
            ? say("doctor.copied", "Copied")
            : say("doctor.select", "It is selected: copy it by Ctrl+C.");
    });
    const line = element("div", { className: "hyperlora-line" }, show, copied, status);
    return element("div", { className: "hyperlora-panel hyperlora-about" }, line, shown);
}
