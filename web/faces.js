// The face picker: photos with a button on each face. What is picked is kept in the widget "picked", as the server reads
// it; the buttons are only a view of it.

import { app } from "../../scripts/app.js";
import { address, post } from "./ask.js";
import { addPanel, change, element } from "./panel.js";
import { onWords, say } from "./say.js";
import { sourceOf, sourcesOf, valueOf } from "./sources.js";
import { everyTick } from "./tick.js";

const LOADERS = ["LoadImage", "LoadImageOutput"];
const AGAIN = 4000; // milliseconds after which a question that failed is asked again: servers and files come back

/** The files and face models that the picker asks the server about; null where the photos are known to no one yet. */
function wanted(node) {
    const sources = sourcesOf(node, "images.");
    if (!sources.length || !sources.every((source) => LOADERS.includes(source?.comfyClass))) return null;
    const loader = sourceOf(node, node.inputs.findIndex((input) => input.name === "hyper_lora"));
    const models = { face_model: valueOf(loader, "face_model"), face_engine: valueOf(loader, "face_engine") };
    return sources.map((source) => ({ image: valueOf(source, "image"), ...models }));
}

const ask = async (question) => (await post("/hyperlora/faces", question)).photos;

function read(store) {
    try {
        const picks = JSON.parse(store.value || "[]");
        return Array.isArray(picks) ? picks : [];
    } catch {
        return []; // the server says what is wrong with it
    }
}

const same = (one, other) => one.photo === other.photo && one.x === other.x && one.y === other.y;

/** Whether a pick means a face: one that was made by other face models may lie a little beside its middle. */
function means(pick, photo, face) {
    if (pick.photo !== photo.photo) return false;
    const distance = ({ pick: { x, y } }) => Math.hypot((x - pick.x) * photo.width, (y - pick.y) * photo.height);
    const holds = ({ box: [left, top, right, bottom] }) =>
        left <= pick.x && pick.x <= right && top <= pick.y && pick.y <= bottom;
    const there = photo.faces.filter(holds).sort((one, other) => distance(one) - distance(other));
    return there[0] === face;
}

class Picker {
    constructor(node, store) {
        this.node = node;
        this.store = store;
        this.photos = []; // as the server describes them
        this.asked = undefined; // what the photos answer
        this.failed = 0; // when the last question did
        this.note = "";
        this.panel = addPanel(node, "faces", 200);
        this.panel.addEventListener("keydown", (event) => this.move(event));
        this.ends = [everyTick(() => this.look()), onWords(() => this.draw())];
        this.draw();
    }

    end() {
        this.ends.forEach((end) => end());
    }

    /** Ask anew if other files are connected than those that are shown, or if there was no answer. */
    async look() {
        if (!this.node.graph) return;
        const questions = wanted(this.node), asked = JSON.stringify(questions);
        const again = asked === this.asked;
        if (again && !(this.failed && performance.now() - this.failed > AGAIN)) return;
        this.asked = asked;
        this.failed = 0;
        if (questions === null) {
            this.show(this.executed ?? [], "");
            return;
        }
        if (!again) this.show([], say("faces.looking", "Looking for faces …"));
        try {
            const photos = (await Promise.all(questions.map(ask))).flat();
            if (asked === this.asked) this.show(photos, "");
        } catch (error) {
            if (asked !== this.asked) return;
            this.failed = performance.now();
            this.show([], error.message);
        }
    }

    /** Show what the last run saw, where the photos come from no file. */
    ran(photos) {
        this.executed = photos;
        if (wanted(this.node) === null) this.show(photos, "");
    }

    show(photos, note) {
        this.photos = photos;
        this.note = note;
        this.draw();
    }

    pick(photo, face, several) {
        const picks = read(this.store), here = picks.filter((pick) => means(pick, photo, face));
        const others = picks.filter((pick) => !here.includes(pick) && (several || pick.photo !== photo.photo));
        const alone = here.length && (several || picks.filter((pick) => pick.photo === photo.photo).length === 1);
        this.set(alone ? others : [...others, face.pick]);
    }

    set(picks) {
        change(app, this.node, this.store, JSON.stringify(picks));
        this.draw();
    }

    /** Arrow keys go from face to face. */
    move(event) {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const buttons = [...this.panel.querySelectorAll(".hyperlora-face")], at = buttons.indexOf(document.activeElement);
        if (!step || at < 0) return;
        buttons[(at + step + buttons.length) % buttons.length].focus();
        event.preventDefault();
        event.stopPropagation();
    }

    draw() {
        const picks = read(this.store);
        const focused = [...this.panel.querySelectorAll("button")].indexOf(document.activeElement);
        const photos = this.photos.map((photo, number) => this.photo(photo, number + 1, picks));
        const line = element("div", { className: "hyperlora-line" }, this.status(picks));
        if (picks.length) {
            const clear = element("button", { type: "button", textContent: say("faces.clear", "Clear") });
            clear.title = say("faces.clearTip", "Let order and index choose");
            clear.addEventListener("click", () => this.set([]));
            line.append(clear);
        }
        this.panel.replaceChildren(element("div", { className: "hyperlora-photos" }, ...photos), line);
        this.panel.querySelectorAll("button")[focused]?.focus();
    }

    status(picks) {
        const text = element("span", { role: "status" });
        const stale = this.photos.length && picks.some((pick) => !this.photos.some((photo) => photo.photo === pick.photo));
        if (this.note) text.textContent = this.note;
        else if (stale) {
            text.textContent = say("faces.stale", "A face was picked on another photo: pick again, or clear the choice.");
            text.className = "hyperlora-warning";
        } else if (!this.photos.length)
            text.textContent = wanted(this.node)
                ? say("faces.looking", "Looking for faces …")
                : say("faces.unknown", "Run once to see the faces here, or connect Load Image.");
        else if (picks.length) text.textContent = say("faces.picked", "Picked: {n}", { n: picks.length });
        else text.textContent = say("faces.none", "Click a face to pick it, shift-click for several.");
        return text;
    }

    photo(photo, number, picks) {
        const picture = element("img", { src: address(photo.image), alt: say("faces.photo", "Photo {n}", { n: number }) });
        picture.draggable = false;
        const figure = element("figure", { className: "hyperlora-photo" }, picture);
        photo.faces.forEach((face, at) => {
            const picked = picks.some((pick) => means(pick, photo, face));
            const button = element("button", { type: "button", className: "hyperlora-face" });
            const [left, top, right, bottom] = face.box.map((value) => Math.min(Math.max(value, 0), 1) * 100);
            button.style.cssText = `left: ${left}%; top: ${top}%; width: ${right - left}%; height: ${bottom - top}%`;
            button.ariaPressed = String(picked);
            button.ariaLabel = say("faces.face", "Photo {n}, face {face} of {faces}", {
                n: number,
                face: at + 1,
                faces: photo.faces.length,
            });
            button.addEventListener("click", (event) => this.pick(photo, face, event.shiftKey));
            figure.append(button);
        });
        if (!photo.faces.length) figure.append(element("figcaption", { textContent: say("faces.noface", "No face found") }));
        return figure;
    }
}

const pickers = new Map();

app.registerExtension({
    name: "HyperLoRA.faces",
    nodeCreated(node) {
        const store = node.widgets?.find((widget) => widget.name === "picked");
        if (node.comfyClass !== "HyperLoRADetectFaces" || !store) return;
        const picker = new Picker(node, store);
        pickers.set(node, picker);
        const { onConfigure, onExecuted, onRemoved } = node;
        node.onConfigure = function () {
            onConfigure?.apply(this, arguments);
            picker.draw();
        };
        node.onExecuted = function (output) {
            onExecuted?.apply(this, arguments);
            if (output?.hyperlora_faces) picker.ran(output.hyperlora_faces);
        };
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            picker.end();
            pickers.delete(node);
        };
    },
    onNodeOutputsUpdated(outputs) {
        // The nodes are made anew when another tab comes to the front, and told of their outputs so.
        for (const [node, picker] of pickers) {
            const seen = outputs[node.id]?.hyperlora_faces;
            if (seen && node.graph?.isRootGraph) picker.ran(seen);
        }
    },
});
