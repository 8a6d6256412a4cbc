// The curve of a schedule, drawn on its node. Its points are dragged or moved by arrow keys, and saved in the widget
// "points"; a preset that is dragged becomes points.

import { app } from "../../scripts/app.js";
import { about } from "./about.js";
import { addPanel, element } from "./panel.js";
import {
    addPoint,
    formatPoints,
    movePoint,
    parsePoints,
    pointAt,
    presetPoints,
    rounded,
    strengthRange,
    thinned,
} from "./points.js";
import { widgetOf } from "./graph.js";
import { onLanguage, say } from "./say.js";
import { everyTick } from "./tick.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = "points"; // the option of "curve" that is no preset, and the widget with the points
const STEP = 0.01, LARGE_STEP = 0.1; // of a key, in percent or strength
const PRESET_PIECES = 4; // of a preset, once it is dragged

function svgElement(tag, attributes) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
}

class Editor {
    constructor(node) {
        this.curve = widgetOf(node, "curve");
        this.start = widgetOf(node, "start_percent");
        this.end = widgetOf(node, "end_percent");
        this.text = widgetOf(node, "points");
        this.panel = addPanel(node, "schedule", 150);
        this.drawnValues = ""; // as JSON
        this.isDragging = false;
        this.stops = [everyTick(() => this.refresh()), onLanguage(() => this.draw())];
        this.draw();
    }

    stop() {
        this.stops.forEach((stop) => stop());
    }

    get values() {
        return JSON.stringify([this.curve, this.start, this.end, this.text].map((widget) => widget.value));
    }

    refresh() {
        if (!this.isDragging && this.values !== this.drawnValues) this.draw();
    }

    /** The curve's points; null if they cannot be read. */
    points() {
        if (this.curve.value === POINTS) return parsePoints(this.text.value);
        return presetPoints(about.curves[this.curve.value] ?? [], this.start.value, this.end.value);
    }

    /** The points that can be dragged: all, or some of a preset's. */
    handles() {
        const points = this.points() ?? [];
        return this.curve.value === POINTS ? points : thinned(points, PRESET_PIECES);
    }

    /** Save points in the widgets, by default as one step that can be undone. */
    save(points, isStep = true) {
        if (isStep) app.canvas.emitBeforeChange();
        for (const [widget, value] of [[this.curve, POINTS], [this.text, formatPoints(points)]]) {
            if (widget.value === value) continue;
            widget.value = value;
            widget.callback?.(value);
        }
        if (isStep) app.canvas.emitAfterChange();
        this.draw();
    }

    draw() {
        const focused = this.handleButtons().indexOf(document.activeElement);
        this.drawnValues = this.values;
        const points = this.points();
        this.range = strengthRange(points);
        const stage = element("div", { className: "hyperlora-curve" }, this.picture(points ?? []));
        this.handles().forEach((point, i) => stage.append(this.handle(point, i)));
        stage.addEventListener("dblclick", (event) => this.add(event));
        const textContent = points
            ? say(
                "schedule.tip",
                "Drag the points, or use the arrow keys. Double-click adds one, Delete removes it.",
            )
            : say("schedule.wrong", "The points cannot be read: write them as 0: 0, 0.3: 1, 1: 0.6");
        const hint = element("span", { textContent, className: points ? "" : "hyperlora-warning" });
        this.panel.replaceChildren(stage, element("div", { className: "hyperlora-line" }, hint));
        this.stage = stage;
        if (focused >= 0) this.handleButtons()[focused]?.focus();
    }

    handleButtons() {
        return [...this.panel.querySelectorAll(".hyperlora-handle")];
    }

    /** Where a percent and a strength are in the drawing, from 0 to 100. */
    across = (percent) => percent * 100;
    down = (strength) => 100 - ((strength - this.range[0]) / (this.range[1] - this.range[0])) * 100;

    picture(points) {
        const svg = svgElement("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
        for (const strength of [0, 1]) {
            const y = this.down(strength);
            svg.append(svgElement("line", { x1: 0, x2: 100, y1: y, y2: y, class: "hyperlora-grid" }));
        }
        if (points.length) {
            const fromEdgeToEdge = [[0, points[0][1]], ...points, [1, points.at(-1)[1]]];
            const line = fromEdgeToEdge.map(([x, y]) => `${this.across(x)},${this.down(y)}`).join(" ");
            svg.append(svgElement("polyline", { points: line, class: "hyperlora-strength" }));
        }
        for (const [from, to] of [[0, this.start.value], [this.end.value, 1]]) {
            const width = Math.max(0, this.across(to - from));
            svg.append(svgElement("rect", { x: this.across(from), y: 0, width, height: 100, class: "hyperlora-off" }));
        }
        return svg;
    }

    handle([x, y], index) {
        const button = element("button", { type: "button", className: "hyperlora-handle" });
        button.style.cssText = `left: ${this.across(x)}%; top: ${this.down(y)}%`;
        button.ariaLabel = say("schedule.point", "Point {n}: at {x} the strength is {y}", {
            n: index + 1,
            x: rounded(x),
            y: rounded(y),
        });
        button.addEventListener("keydown", (event) => this.key(event, index));
        button.addEventListener("pointerdown", (event) => this.drag(event, index));
        return button;
    }

    key(event, index) {
        const points = this.handles(), [x, y] = points[index], step = event.shiftKey ? LARGE_STEP : STEP;
        const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
        const move = moves[event.key];
        const isRemoval = /^(Delete|Backspace)$/.test(event.key) && points.length > 1;
        if (move) this.save(movePoint(points, index, x + move[0], y + move[1]));
        else if (isRemoval) this.save(points.filter((_, i) => i !== index));
        else return;
        event.preventDefault();
        event.stopPropagation();
    }

    /** The point under the pointer, by the range of strengths that is drawn or another one. */
    pointUnder(event, range = this.range) {
        const box = this.stage.getBoundingClientRect();
        return pointAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, range);
    }

    drag(event, index) {
        if (event.button !== 0) return;
        event.preventDefault();
        event.stopPropagation();
        const points = this.handles(), { range } = this;
        this.isDragging = true;
        app.canvas.emitBeforeChange();
        const move = (moveEvent) => {
            this.save(movePoint(points, index, ...this.pointUnder(moveEvent, range)), false);
        };
        const drop = () => {
            window.removeEventListener("pointermove", move, true);
            window.removeEventListener("pointerup", drop, true);
            this.isDragging = false;
            app.canvas.emitAfterChange();
            this.handleButtons()[index]?.focus();
        };
        window.addEventListener("pointermove", move, true); // in the capture phase, since Nodes 2.0 stops them later
        window.addEventListener("pointerup", drop, true);
    }

    add(event) {
        if (event.target.closest(".hyperlora-handle")) return;
        this.save(addPoint(this.handles(), this.pointUnder(event)));
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
            editor.stop();
        };
    },
});
