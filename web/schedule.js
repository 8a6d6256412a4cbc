// The curve of a schedule, drawn on its node; its points are dragged, or moved by arrow keys, and kept in the widget
// "points". A preset that is dragged becomes points.

import { app } from "../../scripts/app.js";
import { about } from "./about.js";
import { addPanel, element } from "./panel.js";
import { onWords, say } from "./say.js";
import { everyTick } from "./tick.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP = 0.01, LARGE_STEP = 0.1;
const COARSE = 4; // pieces that a preset has once it is dragged

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const rounded = (value) => Math.round(value * 1000) / 1000;

/** Points out of their text; null where it cannot be read. */
function read(text) {
    const points = String(text ?? "").split(/[\n,]/).map((part) => part.trim()).filter(Boolean)
        .map((part) => part.replace("=", ":").split(":").map((word) => (word.trim() === "" ? NaN : Number(word))));
    const fine = points.length && points.every((point) => point.length === 2 && point.every(Number.isFinite));
    const inOrder = fine && points.every(([x], i) => 0 <= x && x <= 1 && (!i || points[i - 1][0] <= x));
    return inOrder ? points : null;
}

const written = (points) => points.map((point) => point.map(rounded).join(": ")).join(", ");

function drawn(tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
}

class Editor {
    constructor(node) {
        this.node = node;
        this.widget = Object.fromEntries(node.widgets.map((widget) => [widget.name, widget]));
        this.panel = addPanel(node, "schedule", 150);
        this.shown = "";
        this.dragged = -1;
        const look = () => this.look();
        this.ends = [everyTick(look), onWords(() => this.draw())];
        this.draw();
    }

    end() {
        this.ends.forEach((end) => end());
    }

    get values() {
        return ["curve", "start_percent", "end_percent", "points"].map((name) => this.widget[name].value);
    }

    look() {
        if (this.dragged < 0 && JSON.stringify(this.values) !== this.shown) this.draw();
    }

    /** What is drawn: the points between start and end, in order; null where they cannot be read. */
    points() {
        const [curve, start, end, text] = this.values;
        if (curve === "points") return read(text);
        const factors = about.curves[curve] ?? [];
        return factors.map((factor, i) => [start + ((end - start) * i) / (factors.length - 1), factor]);
    }

    /** The points that can be dragged: a preset has fewer then. */
    handles() {
        const points = this.points() ?? [];
        if (this.values[0] === "points") return points;
        const last = points.length - 1;
        return last < 0 ? [] : [...Array(COARSE + 1).keys()].map((i) => points[Math.round((last * i) / COARSE)]);
    }

    /** Keep points, as one step that can be undone if that is wished. */
    keep(points, whole = true) {
        if (whole) app.canvas.emitBeforeChange();
        for (const [name, value] of [["curve", "points"], ["points", written(points)]]) {
            if (this.widget[name].value === value) continue;
            this.widget[name].value = value;
            this.widget[name].callback?.(value);
        }
        if (whole) app.canvas.emitAfterChange();
        this.draw();
    }

    draw() {
        const focused = this.handleButtons().indexOf(document.activeElement);
        this.shown = JSON.stringify(this.values);
        const points = this.points(), [, start, end] = this.values;
        this.highest = Math.max(1, ...(points ?? []).map(([, y]) => y));
        this.lowest = Math.min(0, ...(points ?? []).map(([, y]) => y));
        const stage = element("div", { className: "hyperlora-curve" });
        stage.append(this.picture(points ?? [], start, end));
        this.handles().forEach((point, i) => stage.append(this.handle(point, i)));
        stage.addEventListener("dblclick", (event) => this.add(event));
        const line = element("div", { className: "hyperlora-line" }, element("span", {
            textContent: points
                ? say("schedule.tip", "Drag the points, or use the arrow keys. Double-click adds one, Delete removes it.")
                : say("schedule.wrong", "The points cannot be read: write them as 0: 0, 0.3: 1, 1: 0.6"),
            className: points ? "" : "hyperlora-warning",
        }));
        this.panel.replaceChildren(stage, line);
        this.stage = stage;
        if (focused >= 0) this.handleButtons()[focused]?.focus();
    }

    handleButtons() {
        return [...this.panel.querySelectorAll(".hyperlora-handle")];
    }

    across = (x) => x * 100;
    down = (y) => 100 - ((y - this.lowest) / (this.highest - this.lowest)) * 100;

    picture(points, start, end) {
        const picture = drawn("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
        for (const y of [0, 1]) {
            picture.append(drawn("line", { x1: 0, x2: 100, y1: this.down(y), y2: this.down(y), class: "hyperlora-grid" }));
        }
        if (points.length) {
            const inside = [[0, points[0][1]], ...points, [1, points.at(-1)[1]]];
            const line = inside.map(([x, y]) => `${this.across(x)},${this.down(y)}`).join(" ");
            picture.append(drawn("polyline", { points: line, class: "hyperlora-strength" }));
        }
        for (const [from, to] of [[0, start], [end, 1]]) {
            const width = Math.max(0, this.across(to - from));
            picture.append(drawn("rect", { x: this.across(from), y: 0, width, height: 100, class: "hyperlora-off" }));
        }
        return picture;
    }

    handle([x, y], at) {
        const button = element("button", { type: "button", className: "hyperlora-handle" });
        button.style.cssText = `left: ${this.across(x)}%; top: ${this.down(y)}%`;
        button.ariaLabel = say("schedule.point", "Point {n}: at {x} the strength is {y}", {
            n: at + 1,
            x: rounded(x),
            y: rounded(y),
        });
        button.addEventListener("keydown", (event) => this.key(event, at));
        button.addEventListener("pointerdown", (event) => this.drag(event, at));
        return button;
    }

    /** A point moved, no further than its neighbours. */
    moved(points, at, x, y) {
        const low = points[at - 1]?.[0] ?? 0, high = points[at + 1]?.[0] ?? 1;
        return points.map((point, i) => (i === at ? [clamp(x, low, high), y] : point));
    }

    key(event, at) {
        const points = this.handles(), [x, y] = points[at], by = event.shiftKey ? LARGE_STEP : STEP;
        const ways = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by] };
        const way = ways[event.key];
        if (way) this.keep(this.moved(points, at, x + way[0], y + way[1]));
        else if (/^(Delete|Backspace)$/.test(event.key) && points.length > 1) this.keep(points.filter((_, i) => i !== at));
        else return;
        event.preventDefault();
        event.stopPropagation();
    }

    /** Where the pointer is, as a point. */
    place(event) {
        const box = this.stage.getBoundingClientRect();
        const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        return [clamp(x, 0, 1), this.highest - clamp(y, 0, 1) * (this.highest - this.lowest)];
    }

    drag(event, at) {
        if (event.button !== 0) return;
        event.preventDefault();
        event.stopPropagation();
        const points = this.handles(), { highest, lowest } = this;
        this.dragged = at;
        app.canvas.emitBeforeChange();
        const move = (to) => {
            [this.highest, this.lowest] = [highest, lowest];
            this.keep(this.moved(points, at, ...this.place(to)), false);
        };
        const drop = () => {
            window.removeEventListener("pointermove", move, true);
            window.removeEventListener("pointerup", drop, true);
            this.dragged = -1;
            app.canvas.emitAfterChange();
            this.handleButtons()[at]?.focus();
        };
        window.addEventListener("pointermove", move, true); // before Nodes 2.0 stops them
        window.addEventListener("pointerup", drop, true);
    }

    add(event) {
        if (event.target.closest(".hyperlora-handle")) return;
        this.keep([...this.handles(), this.place(event)].sort(([one], [other]) => one - other));
    }
}

app.registerExtension({
    name: "HyperLoRA.schedule",
    nodeCreated(node) {
        if (node.comfyClass !== "HyperLoRASchedule") return;
        const editor = new Editor(node);
        const { onConfigure, onRemoved } = node;
        node.onConfigure = function () {
            onConfigure?.apply(this, arguments);
            editor.draw();
        };
        node.onRemoved = function () {
            onRemoved?.apply(this, arguments);
            editor.end();
        };
    },
});
