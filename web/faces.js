// The face picker: photos with a button on each face. The picks are in the widget "picked", which is what the server
// reads; the buttons only show it and change it.

import { app } from "../../scripts/app.js";
import { imageUrl, post } from "./ask.js";
import { inputOf, isOurs, sourceOf, sourcesOf, valueOf, widgetOf } from "./graph.js";
import { addPanel, change, element } from "./panel.js";
import { parsePicks, pickedFace, togglePick } from "./picks.js";
import { onLanguage, say } from "./say.js";
import { everyTick } from "./tick.js";

const FILE_LOADERS = ["LoadImage", "LoadImageOutput"];
const RETRY_AFTER = 4000; // milliseconds

/** A request to the server for each photo; null if a photo comes from elsewhere than a file. */
function requestsFor(node) {
    const sources = sourcesOf(node, "images.");
    if (!sources.length || !sources.every((source) => FILE_LOADERS.includes(source?.comfyClass))) return null;
    const loader = sourceOf(node, inputOf(node, "hyper_lora"));
    const models = { face_model: valueOf(loader, "face_model"), face_engine: valueOf(loader, "face_engine") };
    return sources.map((source) => ({ image: valueOf(source, "image"), ...models }));
}

const detect = async (request) => (await post("/hyperlora/faces", request)).photos;

class Picker {
    constructor(node, widget) {
        this.node = node;
        this.widget = widget;
        this.photos = []; // as the server describes them, see nodes/picker.py
        this.photosOfRun = [];
        this.requests = undefined; // the last ones, as JSON
        this.failedAt = 0; // when they failed, by performance.now(); 0 if they did not
        this.note = "";
        this.panel = addPanel(node, "faces", 200);
        this.panel.addEventListener("keydown", (event) => this.moveFocus(event));
        this.stops = [everyTick(() => this.refresh()), onLanguage(() => this.draw())];
        this.draw();
    }

    stop() {
        this.stops.forEach((stop) => stop());
    }

    /** Send the requests if they are other ones than the last, or if those failed a while ago. */
    async refresh() {
        if (!this.node.graph) return;
        const requests = requestsFor(this.node), key = JSON.stringify(requests);
        const isRetry = key === this.requests;
        if (isRetry && !(this.failedAt && performance.now() - this.failedAt > RETRY_AFTER)) return;
        this.requests = key;
        this.failedAt = 0;
        if (requests === null) {
            this.show(this.photosOfRun, "");
            return;
        }
        if (!isRetry) this.show([], say("faces.looking", "Looking for faces …"));
        try {
            const photos = (await Promise.all(requests.map(detect))).flat();
            if (key === this.requests) this.show(photos, "");
        } catch (error) {
            if (key !== this.requests) return;
            this.failedAt = performance.now();
            this.show([], error.message);
        }
    }

    /** Take the photos of a run, and show them if the photos come from no file. */
    afterRun(photos) {
        this.photosOfRun = photos;
        if (requestsFor(this.node) === null) this.show(photos, "");
    }

    show(photos, note) {
        this.photos = photos;
        this.note = note;
        this.draw();
    }

    set(picks) {
        change(app, this.node, this.widget, JSON.stringify(picks));
        this.draw();
    }

    /** Arrow keys move the focus from face to face. */
    moveFocus(event) {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const buttons = [...this.panel.querySelectorAll(".hyperlora-face")];
        const index = buttons.indexOf(document.activeElement);
        if (!step || index < 0) return;
        buttons[(index + step + buttons.length) % buttons.length].focus();
        event.preventDefault();
        event.stopPropagation();
    }

    draw() {
        const picks = parsePicks(this.widget.value);
        const focused = [...this.panel.querySelectorAll("button")].indexOf(document.activeElement);
        const figures = this.photos.map((photo, i) => this.figure(photo, i + 1, picks));
        const line = element("div", { className: "hyperlora-line" }, this.status(picks));
        if (picks.length) {
            const clear = element("button", { type: "button", textContent: say("faces.clear", "Clear") });
            clear.title = say("faces.clearTip", "Let order and index choose");
            clear.addEventListener("click", () => this.set([]));
            line.append(clear);
        }
        this.panel.replaceChildren(element("div", { className: "hyperlora-photos" }, ...figures), line);
        this.panel.querySelectorAll("button")[focused]?.focus();
    }

    status(picks) {
        const text = element("span", { role: "status" });
        const isConnected = (pick) => this.photos.some((photo) => photo.photo === pick.photo);
        if (this.note) text.textContent = this.note;
        else if (this.photos.length && !picks.every(isConnected)) {
            text.textContent = say(
                "faces.stale",
                "A face was picked on another photo: pick again, or clear the choice.",
            );
            text.className = "hyperlora-warning";
        } else if (!this.photos.length)
            text.textContent = requestsFor(this.node)
                ? say("faces.looking", "Looking for faces …")
                : say("faces.unknown", "Run once to see the faces here, or connect Load Image.");
        else if (picks.length) text.textContent = say("faces.picked", "Picked: {n}", { n: picks.length });
        else text.textContent = say("faces.none", "Click a face to pick it, shift-click for several.");
        return text;
    }

    figure(photo, number, picks) {
        const alt = say("faces.photo", "Photo {n}", { n: number });
        const picture = element("img", { src: imageUrl(photo.image), alt, draggable: false });
        const figure = element("figure", { className: "hyperlora-photo" }, picture);
        const pickedFaces = picks.map((pick) => pickedFace(pick, photo));
        photo.faces.forEach((face, i) => {
            const button = element("button", { type: "button", className: "hyperlora-face" });
            const [left, top, right, bottom] = face.box.map((value) => Math.min(Math.max(value, 0), 1) * 100);
            button.style.cssText = `left: ${left}%; top: ${top}%; width: ${right - left}%; height: ${bottom - top}%`;
            button.ariaPressed = String(pickedFaces.includes(face));
            button.ariaLabel = say("faces.face", "Photo {n}, face {face} of {faces}", {
                n: number,
                face: i + 1,
                faces: photo.faces.length,
            });
            button.addEventListener("click", (event) =>
                this.set(togglePick(parsePicks(this.widget.value), photo, face, event.shiftKey)));
            figure.append(button);
        });
        if (!photo.faces.length) {
            figure.append(element("figcaption", { textContent: say("faces.noface", "No face found") }));
        }
        return figure;
    }
}

const pickers = new Map();

app.registerExtension({
    name: "HyperLoRA.faces",
    nodeCreated(node) {
        const widget = widgetOf(node, "picked");
        if (!isOurs(node) || !widget) return;
        const picker = new Picker(node, widget);
        pickers.set(node, picker);
        const { onConfigure, onExecuted, onRemoved } = node;
        node.onConfigure = function () {
            onConfigure?.apply(this, arguments);
            picker.draw();
        };
        node.onExecuted = function (output) {
            onExecuted?.apply(this, arguments);
            if (output?.hyperlora_faces) picker.afterRun(output.hyperlora_faces);
        };
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            picker.stop();
            pickers.delete(node);
        };
    },
    onNodeOutputsUpdated(outputs) {
        // When another tab comes to the front, the editor makes its nodes anew and gives them their outputs this way.
        for (const [node, picker] of pickers) {
            const photos = outputs[node.id]?.hyperlora_faces;
            if (photos && node.graph?.isRootGraph) picker.afterRun(photos);
        }
    },
});
