"""The words of the nodes, settings and messages in every language, compared with the nodes of the running server."""

import json
import re

import pytest
import requests

from tools import locales

OTHERS = locales.LANGUAGES[1:]


@pytest.fixture(scope="module")
def trees(server) -> dict[str, dict]:
    return locales.english(server.object_info())


@pytest.fixture(scope="module")
def english(trees) -> set[str]:
    return {text for tree in trees.values() for text in locales.texts(tree)}


@pytest.mark.parametrize("language", OTHERS)
def test_a_list_has_each_text_once_and_none_besides(language, english):
    assert set(locales.words(language)) == english


@pytest.mark.parametrize("language", OTHERS)
def test_translations_say_something_with_the_same_values(language):
    for text, word in locales.words(language).items():
        assert word.strip() == word != "", text
        assert sorted(re.findall(r"\{\w+\}", word)) == sorted(re.findall(r"\{\w+\}", text)), text
        for named in re.findall(r"models/[\w/]+|`[^`]+`|\w+\.safetensors|[a-z]+\.[a-z0-9_.]+ = [\d.]+", text):
            assert named in word, f"{text}: {named} is what the files and values are called"
    sentences = [(text, word) for text, word in locales.words(language).items() if text.endswith(".")]
    assert len(sentences) > 200
    assert [text for text, word in sentences if text == word] == [], "left in English"


@pytest.mark.parametrize("language", locales.LANGUAGES)
def test_files_are_what_make_locales_writes(language, trees):
    known = locales.words(language)
    for name, tree in trees.items():
        expected = locales.written(locales.translated(tree, lambda text: known.get(text, text)))
        written = (locales.FOLDER / language / f"{name}.json").read_text(encoding="utf-8")
        assert written == expected, f"{language}/{name}.json is another one: make locales"


def test_every_node_input_and_output_has_a_name_and_what_it_is(server, trees):
    ours = {name: info for name, info in server.object_info().items() if name.startswith("HyperLoRA")}
    assert set(trees["nodeDefs"]) == set(ours) and len(ours) > 30
    for name, info in ours.items():
        words = trees["nodeDefs"][name]
        shown = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        assert set(words["inputs"]) == {field.replace(".", "_") for field in shown}
        assert len(words.get("outputs", {})) == len(info["output"])
        assert words["display_name"] and words["description"]
        assert all(each["tooltip"] for each in words["inputs"].values())


def test_a_message_is_one_sentence_everywhere(trees):
    said: dict[str, str] = {}
    for key, sentence in locales.messages():
        assert said.setdefault(key, sentence) == sentence, f"{key} says two things"
        assert trees["main"]["hyperlora"][key] == sentence


def test_no_message_of_the_front_end_goes_by_unread():
    calls, read, tables = 0, 0, set()
    for path in (locales.PACK / "web").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        calls += len(re.findall(r"(?<!function )\bsay\(", text))
        read += len(locales.SAID.findall(text))
        tables |= set(re.findall(r"\bsay\(`(\w+)\.\$", text))
    assert tables == {"stage", "option"}
    assert calls == read + len(tables), "a call of say() whose key and sentence are no literals"


def test_every_stage_that_a_node_tells_has_its_words(trees):
    told = set()
    for folder in ("nodes", "hyperlora_core"):
        for path in (locales.PACK / folder).rglob("*.py"):
            told |= set(re.findall(r"\bstage\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")))
    assert len(told) > 4
    assert {f"stage.{name}" for name in told} == {key for key in trees["main"]["hyperlora"] if key.startswith("stage.")}


def test_the_server_hands_them_out(server):
    given = requests.get(f"{server.url}/i18n", timeout=30).json()
    for language in locales.LANGUAGES:
        known = locales.words(language)
        node = given[language]["nodeDefs"]["HyperLoRADetectFaces"]
        assert node["display_name"] == known.get("HyperLoRA Detect Faces", "HyperLoRA Detect Faces")
        assert set(json.loads((locales.FOLDER / language / "settings.json").read_text())) <= set(
            given[language]["settings"]
        )
