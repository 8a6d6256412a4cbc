// A schedule's points: read, written, thinned, moved.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
    addPoint,
    formatPoints,
    movePoint,
    parsePoints,
    pointAt,
    presetPoints,
    strengthRange,
    thinned,
} from "../../web/points.js";

const cases = JSON.parse(readFileSync(new URL("points.json", import.meta.url)));

for (const [text, points] of cases.read) {
    test(`points ${JSON.stringify(text)} are read`, () => assert.deepEqual(parsePoints(text), points));
}

test("points are written to three decimals, and read again", () => {
    for (const [points, text] of cases.written) {
        assert.equal(formatPoints(points), text);
        assert.equal(formatPoints(parsePoints(text)), text);
    }
});

test("a preset lies between start and end", () => {
    assert.deepEqual(presetPoints([0, 0.25, 1], 0.2, 0.6), [[0.2, 0], [0.4, 0.25], [0.6, 1]]);
    assert.deepEqual(presetPoints([], 0, 1), []);
});

test("few points out of many keep the ends", () => {
    const points = presetPoints(Array.from({ length: 25 }, (_, i) => i), 0, 1);
    assert.deepEqual(thinned(points, 4).map(([, factor]) => factor), [0, 6, 12, 18, 24]);
    assert.deepEqual(thinned([], 4), []);
});

test("a point stops at its neighbours and at the edges", () => {
    const points = [[0, 0], [0.4, 1], [1, 0.5]];
    assert.deepEqual(movePoint(points, 1, 0.6, 2), [[0, 0], [0.6, 2], [1, 0.5]]);
    assert.deepEqual(movePoint(points, 0, 0.7, 0), [[0.4, 0], [0.4, 1], [1, 0.5]]);
    assert.deepEqual(movePoint(points, 2, 0.1, 0), [[0, 0], [0.4, 1], [0.4, 0]]);
    assert.deepEqual(movePoint(points, 2, 1.5, 0)[2], [1, 0]);
    assert.deepEqual(movePoint(points, 0, -1, 0)[0], [0, 0]);
    assert.deepEqual(points, [[0, 0], [0.4, 1], [1, 0.5]], "the old points are untouched");
});

test("a new point goes to its place in the order", () => {
    assert.deepEqual(addPoint([[0, 0], [1, 1]], [0.5, 3]), [[0, 0], [0.5, 3], [1, 1]]);
});

test("the drawing has room for 0 to 1 and for what lies beyond", () => {
    assert.deepEqual(strengthRange(null), [0, 1]);
    assert.deepEqual(strengthRange([[0, 0.5]]), [0, 1]);
    assert.deepEqual(strengthRange([[0, -0.5], [1, 2]]), [-0.5, 2]);
});

test("the pointer's place is a point, at the edge if it is outside", () => {
    assert.deepEqual(pointAt(0.25, 0.25, [0, 2]), [0.25, 1.5]);
    assert.deepEqual(pointAt(-1, 2, [-0.5, 2]), [0, -0.5]);
});
