"""The language files, compared with the nodes' schemas, the settings and the front end's messages."""

import re

import pytest

from tools import locales

OTHERS = locales.LANGUAGES[1:]


@pytest.fixture(scope="module")
def trees(object_info) -> dict[str, dict]:
    return locales.english(object_info)


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
        for name in re.findall(r"models/[\w/]+|`[^`]+`|\w+\.safetensors|[a-z]+\.[a-z0-9_.]+ = [\d.]+", text):
            assert name in word, f"{text}: {name} is what the files and values are called"
    sentences = [(text, word) for text, word in locales.words(language).items() if text.endswith(".")]
    assert len(sentences) > 200
    assert [text for text, word in sentences if text == word] == [], "left in English"


@pytest.mark.parametrize("language", locales.LANGUAGES)
def test_files_are_what_make_locales_writes(language, trees):
    words = locales.words(language)
    for name, tree in trees.items():
        expected = locales.file_content(locales.translated(tree, lambda text: words.get(text, text)))
        content = (locales.FOLDER / language / f"{name}.json").read_text(encoding="utf-8")
        assert content == expected, f"{language}/{name}.json is another one: make locales"


def test_every_node_input_and_output_has_a_name_and_what_it_is(object_info, trees):
    assert set(trees["nodeDefs"]) == set(object_info)
    for name, info in object_info.items():
        words = trees["nodeDefs"][name]
        fields = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        assert set(words["inputs"]) == {field.replace(".", "_") for field in fields}
        assert len(words.get("outputs", {})) == len(info["output"])
        assert words["display_name"] and words["description"]
        assert all(entry["tooltip"] for entry in words["inputs"].values())


def test_a_message_is_one_sentence_everywhere(trees):
    sentences: dict[str, str] = {}
    for key, sentence in locales.messages():
        assert sentences.setdefault(key, sentence) == sentence, f"{key} says two things"
        assert trees["main"]["hyperlora"][key] == sentence


def test_no_message_of_the_front_end_goes_by_unread():
    calls, matched, tables = 0, 0, set()
    for path in (locales.PACK / "web").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        calls += len(re.findall(r"(?<!function )\bsay\(", text))
        matched += len(locales.SAID.findall(text))
        tables |= set(re.findall(r"\bsay\(`(\w+)\.\$", text))
    assert tables == {"stage", "option"}
    assert calls == matched + len(tables), "a call of say() whose key and sentence are no literals"


def test_every_stage_that_a_node_reports_has_its_words(trees):
    stages = set()
    for folder in ("nodes", "hyperlora_core"):
        for path in (locales.PACK / folder).rglob("*.py"):
            stages |= set(re.findall(r"\bstage\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")))
    assert len(stages) > 4
    assert {f"stage.{name}" for name in stages} == {
        key for key in trees["main"]["hyperlora"] if key.startswith("stage.")
    }
