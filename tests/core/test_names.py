import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.names import collection_name

ids = st.integers(1, 2**63 - 1)
CHROMA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]")
"""What Chroma takes as a collection's name (docs.trychroma.com)."""


@given(ids, st.text(max_size=60), st.text(max_size=150), ids)
def test_any_name_is_one_that_chroma_takes(account, owner, name, repository):
    made = collection_name(account, owner, name, repository)
    assert CHROMA.fullmatch(made)
    assert ".." not in made
    assert len(made.encode()) <= 128
    assert made.startswith(f"repo_{account}_")
    assert made.endswith(f"_{repository}")


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        ("Ann", "Tool.js", "repo_5_ann_tool.js_9"),
        ("a", "b_c", "repo_5_a_b_c_9"),
        ("ann", ".github", "repo_5_ann_.github_9"),
        ("ann", "a..b...c", "repo_5_ann_a-b-c_9"),
        ("ann", "x" * 100, f"repo_5_ann_{'x' * 100}_9"),
        ("o" * 39, "x" * 100, f"repo_5_{'o' * 39}_{'x' * 79}_9"),
        ("o" * 300, "x" * 300, f"repo_5_{'o' * 39}_{'x' * 79}_9"),
        ("ünï", "日本", "repo_5_-n-_--_9"),
    ],
)
def test_names(owner, name, expected):
    assert collection_name(5, owner, name, 9) == expected


def test_two_repositories_never_share_a_name():
    assert collection_name(5, "a", "b_c", 1) != collection_name(5, "a_b", "c", 2)
    assert collection_name(5, "a", "x" * 200 + "1", 1) != collection_name(5, "a", "x" * 200 + "2", 2)
