import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.hashing import content_hash


def test_a_known_value():
    known = "be88f8e4"
    assert content_hash("title", "body").hex()[:8] == known
    assert len(content_hash("", "")) == 32


@pytest.mark.parametrize(
    ("title", "body"), [("titl", "ebody"), ("title", "Body"), ("title ", "body"), ("titlebody", "")]
)
def test_another_text_has_another_hash(title, body):
    assert content_hash(title, body) != content_hash("title", "body")


@given(st.text(), st.text())
def test_every_text_has_one(title, body):
    assert content_hash(title, body) == content_hash(title, body)


def test_a_lone_surrogate_has_one():
    assert content_hash("\ud800", "") != content_hash("", "\ud800")
