"""What a forge reads: checks that run this project's own commands, and forms that ask for what they print."""

import re
import subprocess

import pytest
import yaml

from demo.server import PACK
from hyperlora_core.cli import main
from tests.documents import parsing

FORMS = sorted(path.name for path in (PACK / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_continuous_integration_runs_the_projects_own_command():
    workflow = yaml.safe_load((PACK / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == ".ci/run"
    assert next(step["with"] for step in steps if "setup-python" in step.get("uses", ""))["python-version"] == "3.11"
    cached = next(step["with"] for step in steps if "actions/cache" in step.get("uses", ""))
    assert cached["path"].endswith("/comfyui-hyperlora") and "XDG_CACHE_HOME" in job["env"]
    for path in re.findall(r"'([\w./]+?)(?:/\*\*)?'", cached["key"]):
        assert (PACK / path).exists(), path


@pytest.mark.parametrize("form", FORMS)
def test_a_form_asks_for_what_commands_print(form):
    text = (PACK / ".github" / "ISSUE_TEMPLATE" / form).read_text()
    content = yaml.safe_load(text)
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert content["name"] and content["description"] and all(field["attributes"]["label"] for field in fields)
    for command in re.findall(r"`((?:hyperlora|python -m) [^`]+)`", text):
        if command == "hyperlora --version":
            with pytest.raises(SystemExit):
                main(["--version"])
        else:
            parsing.check(command.split())


def test_hooks_are_local_and_run_the_checks_of_make_lint():
    hooks = yaml.safe_load((PACK / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"], "no network is needed"
    lint = (PACK / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for hook in hooks[0]["hooks"]:
        tool = re.search(r"-m (ruff \w+)|make (types)", hook["entry"])
        assert tool and (tool[1] or tool[2]) in lint, hook["id"]


def test_a_hook_runs_offline_in_the_environment():
    entry = yaml.safe_load((PACK / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]["entry"]
    result = subprocess.run(
        ["bash", "-c", f"{entry} demo/server.py"], cwd=PACK, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout
