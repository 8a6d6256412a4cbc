// Picks: read, the faces that they mean, clicks.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { parsePicks, pickedFace, togglePick } from "../../web/picks.js";

const cases = JSON.parse(readFileSync(new URL("picks.json", import.meta.url)));

function face(photo, box) {
    const [left, top, right, bottom] = box;
    return { box, pick: { photo, x: (left + right) / 2, y: (top + bottom) / 2 } };
}

const photo = { ...cases.photo, photo: "ab12", faces: cases.boxes.map((box) => face("ab12", box)) };
const [first, second] = photo.faces;
const elsewhere = { photo: "cd34", x: 0.2, y: 0.5 };

for (const [text, picks] of cases.read) {
    test(`picks ${text} are read`, () => assert.deepEqual(parsePicks(text), picks ?? []));
}

for (const [[x, y], index] of cases.faces) {
    test(`a pick at ${x}, ${y} means face ${index}`, () => {
        assert.equal(pickedFace({ photo: "ab12", x, y }, photo), photo.faces[index]);
        assert.equal(pickedFace({ photo: "cd34", x, y }, photo), undefined);
    });
}

test("a click picks a face alone on its photo, and unpicks it", () => {
    assert.deepEqual(togglePick([], photo, first, false), [first.pick]);
    assert.deepEqual(togglePick([elsewhere, first.pick], photo, second, false), [elsewhere, second.pick]);
    assert.deepEqual(togglePick([elsewhere, first.pick], photo, first, false), [elsewhere]);
    assert.deepEqual(togglePick([first.pick, second.pick], photo, first, false), [first.pick]);
});

test("a shift-click adds a face to the others, and takes it away", () => {
    assert.deepEqual(togglePick([elsewhere, first.pick], photo, second, true), [elsewhere, first.pick, second.pick]);
    assert.deepEqual(togglePick([first.pick, second.pick], photo, first, true), [second.pick]);
});

test("a pick beside the middle of a face, from other face models, is unpicked with it", () => {
    const beside = { photo: "ab12", x: 0.15, y: 0.21 };
    assert.deepEqual(togglePick([beside, elsewhere], photo, first, true), [elsewhere]);
});
