// Trigger words in prompts, and base models that are known to fail.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isUnfit, lacksTriggerWords, withTriggerWords } from "../../web/prompts.js";

const WORDS = "fcsks fxhks fhyks";

test("trigger words are there in any order, case, weight and punctuation", () => {
    for (const text of [WORDS, "(FXHKS:1.2), fcsks; a man, fhyks.", "fcsks,fxhks,fhyks"]) {
        assert.equal(lacksTriggerWords([text], WORDS), false, text);
    }
});

test("a part of a word is not the word, and two of three are not enough", () => {
    for (const text of ["", "a garden", "fcsks fxhks", "fcsks fxhks fhyksen", "fcsksfxhksfhyks"]) {
        assert.equal(lacksTriggerWords([text], WORDS), true, text);
    }
});

test("one of several prompts is enough, but it has to have all words", () => {
    assert.equal(lacksTriggerWords(["a garden", WORDS], WORDS), false);
    assert.equal(lacksTriggerWords(["fcsks fxhks", "fhyks"], WORDS), true);
});

test("nothing is lacking without prompts, or before the trigger words are known", () => {
    assert.equal(lacksTriggerWords([], WORDS), false);
    assert.equal(lacksTriggerWords(["a garden"], ""), false);
});

test("with the trigger words inserted, a prompt has them", () => {
    const text = withTriggerWords("a garden", WORDS);
    assert.equal(text, "fcsks fxhks fhyks, a garden");
    assert.equal(lacksTriggerWords([text], WORDS), false);
});

test("a base model is told by its file's name, without folders, case and punctuation", () => {
    assert.equal(isUnfit("sdxl/Arien-Mix XL_v40.safetensors", ["arienmix"]), true);
    assert.equal(isUnfit("juggernautXL.safetensors", ["arienmix"]), false);
    assert.equal(isUnfit("arienmix.safetensors", []), false);
});
