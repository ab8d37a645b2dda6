"""docs/action.md says of the Action what action.yml does."""

import re

import pytest
import yaml

from action.deja_view import DEFAULTS
from tests.action.conftest import ACTION, FOLDER

PAGE = (FOLDER.parent / "docs" / "action.md").read_text(encoding="utf-8")
WORKFLOWS = [
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
ON = True
"""What YAML 1.1 makes of `on`."""


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_are_workflows():
    assert len(WORKFLOWS) == 2


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_workflow_to_copy_is_one(workflow):
    assert workflow.keys() == {"name", ON, "permissions", "jobs"}
    assert workflow[ON] == {"issues": {"types": ["opened"]}}
    (only,) = steps(workflow)
    assert only["uses"].endswith("/deja-view/action@main")
    assert only["with"].keys() <= ACTION["inputs"].keys()
    identity = workflow["permissions"].get("id-token") == "write"
    assert identity != ("api-key" in only["with"])
    assert workflow["permissions"]["issues"] == "write"


def test_every_input_and_output_is_told_with_its_default():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert rows.keys() == ACTION["inputs"].keys() | ACTION["outputs"].keys()
    for name, default in DEFAULTS.items():
        if name not in ("github-token", "comment-template"):
            assert rows[name] == (f"`{default}`" if default else "none")
