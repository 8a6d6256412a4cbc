// The modules without a DOM, as the editor loads them: sentences, options, names to save by, notices, requests.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { answers, api, requests } from "./editor/api.js";
import { app, extensions, setLocale, takeToasts } from "./editor/app.js";
import { about } from "../../web/about.js";
import { get, imageUrl, post } from "../../web/ask.js";
import "../../web/notices.js";
import "../../web/options.js";
import "../../web/saving.js";
import { onLanguage, say } from "../../web/say.js";

const GERMAN = { "faces.picked": "Gewählt: {n}", "option.largest": "die größten", "option.auto": "auto" };

beforeEach(() => {
    for (const path of Object.keys(answers)) delete answers[path];
    requests.length = 0;
    takeToasts();
});

test("a sentence has its values, and what has none stays", () => {
    assert.equal(say("no.key", "Photo {n} of {all}: {n}", { n: 2 }), "Photo 2 of {all}: 2");
    assert.equal(say("no.key", "{n}", { n: 0 }), "0");
});

test("sentences follow the language, and are English without an answer", async () => {
    let calls = 0;
    const stop = onLanguage(() => (calls += 1));
    answers["/i18n"] = [200, { de: { hyperlora: GERMAN } }];
    await extensions["HyperLoRA.say"].setup();
    assert.equal(say("faces.picked", "Picked: {n}", { n: 3 }), "Picked: 3");
    await setLocale("de");
    assert.equal(say("faces.picked", "Picked: {n}", { n: 3 }), "Gewählt: 3");
    assert.equal(say("faces.none", "Click a face"), "Click a face");

    const widget = { type: "combo", options: {} }, text = { type: "text", options: {} };
    extensions["HyperLoRA.options"].nodeCreated({ comfyClass: "HyperLoRADetectFaces", widgets: [widget, text] });
    const labels = ["largest", "auto", "best match", null].map((value) => widget.options.getOptionLabel(value));
    assert.deepEqual(labels, ["largest · die größten", "auto", "best match", ""]);
    assert.equal(text.options.getOptionLabel, undefined);
    const foreign = { type: "combo", options: {} };
    extensions["HyperLoRA.options"].nodeCreated({ comfyClass: "KSampler", widgets: [foreign] });
    assert.equal(foreign.options.getOptionLabel, undefined);

    stop();
    answers["/i18n"] = [500, {}];
    await setLocale("de");
    assert.equal(say("faces.picked", "Picked: {n}", { n: 3 }), "Picked: 3");
    assert.equal(calls, 2);
});

test("the editor fills in a name but for its dates", () => {
    const utils = { applyTextReplacements };
    globalThis.window = { comfyAPI: { utils } };
    function applyTextReplacements(editor, text) {
        assert.equal(editor, app);
        return text.replaceAll("%KSampler.seed%", "77").replace("%date", "wrong");
    }
    for (const name of ["filename_prefix", "name"]) {
        const widget = { name, value: "%date:dd.MM%/%KSampler.seed%_a" };
        extensions["HyperLoRA.saving"].nodeCreated({ comfyClass: "HyperLoRASave", widgets: [widget] });
        assert.equal(widget.serializeValue(), "%date:dd.MM%/77_a");
        utils.applyTextReplacements = undefined; // an editor without it
        assert.equal(widget.serializeValue(), widget.value);
        utils.applyTextReplacements = applyTextReplacements;
    }
    const foreign = { name: "filename_prefix", value: "a" };
    extensions["HyperLoRA.saving"].nodeCreated({ comfyClass: "SaveImage", widgets: [foreign] });
    assert.equal(foreign.serializeValue, undefined);
    delete globalThis.window;
});

test("remarks are warnings, and an error of ours is said by its own sentence", async () => {
    answers["/hyperlora/about"] = [200, { trigger_words: "fcsks", notices: ["Two packs"] }];
    await extensions["HyperLoRA.about"].init();
    assert.equal(about.trigger_words, "fcsks");
    await extensions["HyperLoRA.notices"].setup();
    api.send("executed", { output: { remarks: ["left out photo 1"] } });
    api.send("executed", { output: { images: [] } });
    api.send("executed", { output: null });
    api.send("hyperlora.remark", { remark: "masks are stretched" });
    api.send("execution_error", { node_type: "HyperLoRAPortrait", exception_message: "no face\n" });
    api.send("execution_error", { node_type: "KSampler", exception_message: "out of memory" });
    const shown = takeToasts().map(({ severity, detail }) => [severity, detail]);
    assert.deepEqual(shown, [
        ["warn", "Two packs"],
        ["warn", "left out photo 1"],
        ["warn", "masks are stretched"],
        ["error", "no face"],
    ]);
});

test("a server that does not tell about the pack leaves it as it was", async () => {
    const before = { ...about };
    await extensions["HyperLoRA.about"].init();
    assert.deepEqual(about, before);
});

test("a route's content is returned, and its sentence thrown", async () => {
    answers["/hyperlora/faces"] = [200, { photos: [] }];
    assert.deepEqual(await post("/hyperlora/faces", { image: "a.png" }), { photos: [] });
    const [[path, { method, body }]] = requests;
    assert.deepEqual([path, method, JSON.parse(body)], ["/hyperlora/faces", "POST", { image: "a.png" }]);
    answers["/hyperlora/faces"] = [400, { error: "no such file" }];
    await assert.rejects(post("/hyperlora/faces", {}), { message: "no such file" });
    await assert.rejects(get("/hyperlora/absent"), /^Error: 404/);
});

test("a picture is a URL or a file of ComfyUI's", () => {
    assert.equal(imageUrl("data:image/png;base64,AA"), "data:image/png;base64,AA");
    assert.equal(imageUrl({ filename: "a b.png", type: "temp" }), "/api/view?filename=a+b.png&type=temp");
});
