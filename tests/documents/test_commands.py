"""Every command that a document tells is one that there is, with options that there are."""

import json
import re

import pytest

from demo.server import PACK
from hyperlora_core.training.config import TrainConfig
from tests.documents import parsing, reading, shell

DOCUMENTS = reading.documents()
WITH_COMMANDS = [document for document in DOCUMENTS if reading.blocks(document, "sh")]
_WORDS = ("hyperlora ", "make ", "pip ", "git ", "python -m ", "accelerate ", "$ ", "cd ")
_OTHERS = {
    *("--depth", "--help", "--logdir", "--version"),
    *("--num_processes", "--num_machines", "--machine_rank", "--main_process_ip"),  # Accelerate's
    *("--dim_from_weights", "--network_dim", "--network_alpha"),  # sd-scripts'
}
"""Flags in sentences that are no command's of ours."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_block_is_of_a_kind_that_some_test_knows(document):
    for block in reading.blocks(document):
        assert block.language in ("sh", "python", "json", "text"), f"{block}: a block of no known language"
        if block.language == "text":
            typed = [line for line in block.text.splitlines() if line.lstrip().startswith(_WORDS)]
            assert not typed, f"{block}: commands that nothing reads; mark the block as sh"
        if block.language == "json":
            json.loads(block.text)
    assert list(reading.indented_code(document)) == [], f"{document}: code without a fence, which nothing reads"
    fences = re.findall(r"^ *```", reading.read(document), re.MULTILINE)
    assert len(fences) == 2 * len(reading.blocks(document)), f"{document}: a fence that nothing closes"


@pytest.mark.parametrize("document", WITH_COMMANDS)
def test_commands_are_read_by_what_runs_them(document, tmp_path):
    commands = shell.words_of(reading.blocks(document, "sh"), tmp_path, work="work", faces="faces")
    assert commands
    for words in commands:
        parsing.check(words)


def test_training_reads_what_its_document_says(tmp_path):
    commands = shell.words_of(reading.blocks("docs/TRAINING.md", "sh"), tmp_path)
    runs = [
        parsing.check(words) for words in commands if words[:2] == ["hyperlora", "train"] or words[0] == "accelerate"
    ]
    configs = [run for run in runs if isinstance(run, TrainConfig)]
    assert [config.stage for config in configs[:3]] == ["base", "id_clip", "id_embed"]
    home = str(tmp_path)
    started = [config for config in configs if config.data]
    assert all(config.base == "sdxl" for config in started) and len(started) == 5
    assert {config.data for config in started} == {f"{home}/set"}
    assert [config.start for config in started[:3]] == [
        "",
        f"{home}/runs/base/hyperlora",
        f"{home}/runs/id_clip/hyperlora",
    ]
    (alone,) = [config for config in started if config.also_train]
    assert alone.steps == 70000 and "id_bases" in alone.also_train


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """Every flag of every command of ours."""
    commands = [("generate",), ("batch",), ("download",), ("inspect",), ("convert",), ("doctor",), ("prepare",)]
    commands += [("evaluate",), ("train", "id_clip"), ("finetune",)]
    return {flag for words in commands for flag in re.findall(r"--[a-z][\w.-]*", parsing.help_of(words))}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_in_sentences_are_flags_of_commands(document, flags):
    for span in reading.spans(document):
        for flag in re.findall(r"(?<!\S)--[a-z][\w.-]*", span):
            assert flag.rstrip(".") in flags | _OTHERS or any(name.startswith(f"{flag}.") for name in flags), (
                f"{document}: `{span}`"
            )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_and_modules_in_sentences_are_there(document):
    for span in reading.spans(document):
        words = span.split()
        if words[0] == "make" and len(words) > 1 and "<" not in span:
            parsing.check_make([words[1]])
        if words[:2] == ["python", "-m"]:
            parsing.check(words[:3])
        if words[0] == "hyperlora" and len(words) > 1 and words[1][0] != "-" and words[1].islower():
            assert words[1] in parsing.help_of(()), f"{document}: `{span}`"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_in_sentences_are_there(document):
    """Of this repository; folders of ComfyUI and of a user's machine are others."""
    ours = {path.name for path in PACK.iterdir() if not path.name.startswith(".")} - {"models", "portraits", "dist"}
    for span in reading.spans(document):
        path, _, test = span.partition("::")
        if re.fullmatch(r"[\w./-]+", path) and "/" in path and path.partition("/")[0] in ours and "..." not in path:
            assert (PACK / path).exists(), f"{document}: `{span}`"
            assert not test or f"def {test}(" in (PACK / path).read_text(encoding="utf-8"), f"{document}: `{span}`"


def test_what_is_wrong_is_found(tmp_path):
    def checked(*lines: str) -> None:
        (tmp_path / "wrong.md").write_text("```sh\n" + "\n".join(lines) + "\n```\n")
        for words in shell.words_of(reading.blocks("wrong.md", root=tmp_path), tmp_path):
            parsing.check(words)

    checked("make test T=tests", "pip install -e .[train]")
    for line in ("make nothing", "make test X=1", "pip install -e .[nothing]", "curl https://example.org", "cp a b"):
        with pytest.raises(AssertionError):
            checked(line)
        (tmp_path / "notes.jsonl").unlink()
    for line in ("hyperlora generate --modell x", "hyperlora nothing", "hyperlora train base --optimisation.rate 1"):
        with pytest.raises((SystemExit, AssertionError)):
            checked(line)
        (tmp_path / "notes.jsonl").unlink()
