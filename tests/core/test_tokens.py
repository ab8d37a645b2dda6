import time

import pytest

from bot.core.tokens import surfaces, tokens
from tests.pace import allowed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("readLine", ["readline", "read", "line"]),
        ("read_line", ["read_line", "read", "line"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("std::io::Error", ["std", "io", "error"]),
        ("SC2086", ["sc2086", "sc", "2086"]),
        ("running crashes crashed", ["run", "crash", "crash"]),
        ("the of and", []),
        ("__init__", ["init"]),
        ("___", []),
        ("日本語", ["日本", "本語"]),
        ("字", ["字"]),
        ("設定screen", ["設定", "screen"]),
        ("설정 화면", ["설정", "화면"]),
        ("naïve Größe", ["naïv", "größe"]),
        ("a" * 41, []),
        ("😀 👩‍💻", []),
        ("", []),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


def test_surfaces_are_the_words_as_they_stand():
    assert surfaces("NullPointerException in readLine") | {"read": "readLine"} == surfaces(
        "NullPointerException in readLine"
    )
    assert surfaces("crashes 日本語")["crash"] == "crashes"
    assert surfaces("crashes 日本語")["本語"] == "本語"


@pytest.mark.parametrize("piece", ["a", "_", "a_", "aB", "A", "字", "字a", "1", "a ", "\u0301", "é"])
def test_hostile_text_takes_linear_time(piece):
    text = (piece * 65_536)[:65_536]
    start = time.process_time()
    tokens(text)
    assert time.process_time() - start < allowed(0.25)
