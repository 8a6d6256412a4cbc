"""Makes the language files that ComfyUI reads, from the nodes' schemas, web/ and one list of translations a language.

``locales/<language>/words.json`` maps each English text to its translation, once; ``make locales`` makes of it what
ComfyUI reads: nodeDefs.json, main.json, settings.json and commands.json. Texts that a list lacks are logged.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from demo.server import PACK

from . import schemas

FOLDER = PACK / "locales"
LANGUAGES = ("en", "zh", "ja", "ko", "de", "fr", "es")
SETTINGS = json.loads((PACK / "web" / "settings.json").read_text(encoding="utf-8"))
FILES = ("nodeDefs", "main", "settings", "commands")

SAID = re.compile(r'\bsay\(\s*"([\w.]+)",\s*"((?:[^"\\]|\\.)*)"')
_TABLE = re.compile(r"const STAGES = \{(.*?)\};", re.DOTALL)
_ROW = re.compile(r'(\w+): "((?:[^"\\]|\\.)*)"')
_LISTS = {
    *("model", "clip_vision", "face_model", "id_model", "identity_name", "slider_name", "sampler_name", "scheduler"),
    *("face_analyzer", "image_encoder", "image_processor"),
}

log = logging.getLogger(__name__)


def english(object_info: Mapping[str, Any]) -> dict[str, Any]:
    """File name -> its English content, from the schemas and the front end's modules."""
    nodes = dict(sorted(object_info.items()))
    options = {f"option.{option}": option for info in nodes.values() for option in _options(info)}
    return {
        "nodeDefs": {_key(name): _node(info) for name, info in nodes.items()},
        "main": {"hyperlora": dict(sorted([*messages(), *options.items()])), "settingsCategories": _categories()},
        "settings": _settings(),
        "commands": {"HyperLoRA_Models": {"label": "HyperLoRA models"}},
    }


def texts(tree: Any) -> Iterator[str]:
    """Every text of a tree."""
    if isinstance(tree, str):
        yield tree
    else:
        for value in tree.values():
            yield from texts(value)


def translated(tree: Any, word: Callable[[str], str]) -> Any:
    """A tree with each of its texts replaced."""
    return word(tree) if isinstance(tree, str) else {key: translated(value, word) for key, value in tree.items()}


def words(language: str) -> dict[str, str]:
    """A language's list; empty for English."""
    return {} if language == "en" else json.loads((FOLDER / language / "words.json").read_text(encoding="utf-8"))


def file_content(tree: Any) -> str:
    """A tree as JSON, as its file has it."""
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def make(object_info: Mapping[str, Any]) -> dict[str, list[str]]:
    """Write all files.

    Returns:
        Language -> the English texts that its list lacks.
    """
    trees, missing = english(object_info), {}
    for language in LANGUAGES:
        translations = words(language)
        english_texts = [text for tree in trees.values() for text in texts(tree)]
        missing[language] = sorted({text for text in english_texts if language != "en" and text not in translations})
        for name in FILES:
            (FOLDER / language).mkdir(parents=True, exist_ok=True)
            tree = translated(trees[name], lambda text, translations=translations: translations.get(text, text))
            (FOLDER / language / f"{name}.json").write_text(file_content(tree), encoding="utf-8")
    return missing


def _node(info: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {}
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            inputs[_key(name)] = {"name": name, "tooltip": spec[1]["tooltip"]}
    outputs = {}
    for place, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True)):
        outputs[str(place)] = {"name": name, **({"tooltip": tooltip} if tooltip else {})}
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": inputs,
        **({"outputs": outputs} if outputs else {}),
    }


def _options(info: Mapping[str, Any]) -> Iterator[str]:
    """The choices of a node's menus, except for lists of files and for ComfyUI's own lists."""
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            if spec[0] == "COMBO" and name not in _LISTS:
                yield from spec[1]["options"]


def messages() -> Iterator[tuple[str, str]]:
    """Key and English sentence of each message of the front end."""
    for path in sorted((PACK / "web").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        for key, sentence in SAID.findall(text):
            yield key, json.loads(f'"{sentence}"')
        for table in _TABLE.findall(text):
            for key, sentence in _ROW.findall(table):
                yield f"stage.{key}", json.loads(f'"{sentence}"')


def _settings() -> dict[str, Any]:
    """Names, tooltips and options of the settings in ComfyUI's dialog."""
    entries: dict[str, Any] = {}
    for setting in SETTINGS:
        entries[_key(setting["id"])] = {"name": setting["name"], "tooltip": setting["tooltip"]}
        if "options" in setting:
            entries[_key(setting["id"])]["options"] = {_key(option): option for option in setting["options"]}
    return entries


def _categories() -> dict[str, str]:
    names = [name for setting in SETTINGS for name in setting["category"][:2]]
    return {name: name for name in dict.fromkeys(names)}


def _key(name: str) -> str:
    """As ComfyUI's front end looks a name up."""
    return name.replace(".", "_")


def main() -> int:
    """Make the files anew; 1 where a list lacks something."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    missing = make(schemas.object_info())
    for language, lacks in missing.items():
        for text in lacks:
            log.info("%s lacks %s", language, json.dumps(text, ensure_ascii=False))
    return 1 if any(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
