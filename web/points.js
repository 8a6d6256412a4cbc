// A schedule's points, [percent, strength] each, and their text. hyperlora_core/lora/schedule.py reads the same text;
// tests/web/points.json has the cases that both are tested with.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const toNumber = (text) => (NUMBER.test(text.trim()) ? Number(text) : NaN);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** To three decimals, as points are written. */
export const rounded = (value) => Math.round(value * 1000) / 1000;

/** Points out of a text as "0: 0, 0.3: 1", on one line or several; null if it cannot be read. */
export function parsePoints(text) {
    const points = String(text ?? "")
        .split(/[\n,]/)
        .map((part) => part.trim())
        .filter(Boolean)
        .map((part) => part.replaceAll("=", ":").split(":").map(toNumber));
    const isPoint = (point) => point.length === 2 && point.every(Number.isFinite);
    const inOrder = ([percent], i) => 0 <= percent && percent <= 1 && (!i || points[i - 1][0] <= percent);
    return points.length && points.every(isPoint) && points.every(inOrder) ? points : null;
}

export function formatPoints(points) {
    return points.map((point) => point.map(rounded).join(": ")).join(", ");
}

/** A preset's factors, at even steps, as points between start and end. */
export function presetPoints(factors, start, end) {
    return factors.map((factor, i) => [start + ((end - start) * i) / (factors.length - 1), factor]);
}

/** Points at even steps out of many, with the first and the last; pieces + 1 of them. */
export function thinned(points, pieces) {
    const last = points.length - 1;
    return last < 0 ? [] : Array.from({ length: pieces + 1 }, (_, i) => points[Math.round((last * i) / pieces)]);
}

/** The points with one of them elsewhere, but no further than its neighbours. */
export function movePoint(points, index, percent, strength) {
    const low = points[index - 1]?.[0] ?? 0, high = points[index + 1]?.[0] ?? 1;
    return points.map((point, i) => (i === index ? [clamp(percent, low, high), strength] : point));
}

export function addPoint(points, point) {
    return [...points, point].sort(([a], [b]) => a - b);
}

/** Lowest and highest strength that the drawing has room for: 0 to 1, and what lies beyond. */
export function strengthRange(points) {
    const strengths = (points ?? []).map(([, strength]) => strength);
    return [Math.min(0, ...strengths), Math.max(1, ...strengths)];
}

/** Which point a place from 0 to 1 across and down the drawing is. */
export function pointAt(across, down, [lowest, highest]) {
    return [clamp(across, 0, 1), highest - clamp(down, 0, 1) * (highest - lowest)];
}
