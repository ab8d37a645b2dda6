import math
import random
from collections import Counter

import numpy as np
import pytest

from bot.core.lexical import RARE, Bag, LexicalIndex, bag_of, idf, key_of

WORDS = [f"w{n}" for n in range(60)]


def random_bags(count, seed=7):
    rng = random.Random(seed)
    return [
        Bag(
            Counter(rng.choices(WORDS, k=rng.randint(1, 8))),
            Counter(rng.choices(WORDS, k=rng.randint(5, 80))),
        )
        for _ in range(count)
    ]


def textbook(documents, query, row):
    """BM25 straight from its formula, over dicts."""
    average = sum(sum(item.values()) for item in documents.values()) / len(documents)
    length = sum(documents[row].values())
    total = 0.0
    for token, weight in query.items():
        tf = documents[row].get(token, 0)
        df = sum(token in item for item in documents.values())
        total += (
            weight
            * 9
            / (weight + 8)
            * math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            * tf
            * 2.5
            / (tf + 1.5 * (0.25 + 0.75 * length / average))
        )
    return total


def indexed(bags):
    index = LexicalIndex()
    for row, bag in enumerate(bags):
        index.put(row, index.learn(bag))
    return index


def test_scores_are_those_of_the_formula():
    bags = random_bags(40)
    index, query = indexed(bags), random_bags(1, seed=8)[0]
    found = index.match(index.look_up(query), len(bags))
    texts, titles = (
        {row: bag.text for row, bag in enumerate(bags)},
        {row: bag.title for row, bag in enumerate(bags)},
    )
    best = index._title.view(None).self_score(index.look_up(query).title)
    for row in range(len(bags)):
        assert found.text[row] == pytest.approx(textbook(texts, query.text, row), rel=1e-5)
        assert found.title[row] == pytest.approx(textbook(titles, query.title, row) / best, rel=1e-5)


def test_a_title_scores_one_against_itself():
    bags = random_bags(30)
    index = indexed(bags)
    same = Bag(bags[3].title, bags[3].text)
    match = index.match(index.look_up(same), 30)
    length = sum(same.title.values())
    assert 0 < match.title[3] <= 1.0 + 1e-6 or length == 0


def test_unknown_words_lower_the_share_of_a_title():
    index = indexed(random_bags(30))
    known = index.match(index.look_up(Bag({"w1": 1}, {"w1": 1})), 30)
    diluted = index.match(index.look_up(Bag({"w1": 1, "never": 1, "seen": 1}, {"w1": 1})), 30)
    assert 0 < diluted.title.max() < known.title.max()


@pytest.mark.parametrize("without", [0, 7, 39])
def test_an_issue_does_not_count_itself(without):
    bags = random_bags(40)
    index = indexed(bags)
    rest = LexicalIndex(index.vocabulary)
    for row, bag in enumerate(bags):
        if row != without:
            rest.put(row, rest.learn(bag))
    asked = index.look_up(bags[without])
    seen, expected = index.match(asked, 40, without=without), rest.match(asked, 40)
    others = [row for row in range(40) if row != without]
    for name in ("text", "title", "rare"):
        np.testing.assert_allclose(getattr(seen, name)[others], getattr(expected, name)[others], rtol=1e-6)


def test_replacing_and_removing_leave_no_trace():
    bags, index = random_bags(60), LexicalIndex()
    for row, bag in enumerate(bags[:40]):
        index.put(row, index.learn(bag))
    for row in range(20):
        index.put(row, index.learn(bags[40 + row]))
    for row in range(30, 40):
        index.remove(row)
    index.remove(39)
    fresh = LexicalIndex(index.vocabulary)
    for row, bag in enumerate([*bags[40:60], *bags[20:30]]):
        fresh.put(row, fresh.learn(bag))
    query = index.look_up(random_bags(1, seed=9)[0])
    for name in ("text", "title", "rare"):
        np.testing.assert_allclose(
            getattr(index.match(query, 30), name), getattr(fresh.match(query, 30), name), rtol=1e-6
        )
    assert len(index) == 30


def test_rare_tokens_are_those_in_few_issues():
    bags = [Bag({}, {"common": 1, "rare": 1} if row < RARE else {"common": 1}) for row in range(20)]
    index = indexed(bags)
    match = index.match(index.look_up(Bag({}, {"common": 1, "rare": 1})), 20)
    assert match.rare[0] == pytest.approx(idf(20, RARE))
    assert match.rare[RARE:].tolist() == [0] * (20 - RARE)
    index.put(19, index.learn(Bag({}, {"rare": 1})))
    assert index.match(index.look_up(Bag({}, {"rare": 1})), 20).rare.tolist() == [0] * 20


def test_shared_tokens_come_rarest_first():
    index = indexed([Bag({}, {"a": 1, "b": 1}), Bag({}, {"a": 1}), Bag({}, {"a": 1, "c": 1})])
    assert index.shared(Bag({}, {"a": 1, "b": 1, "x": 1}), 0, most=3) == ["b", "a"]
    assert index.shared(Bag({}, {"a": 1, "b": 1, "x": 1}), 0, most=2) == ["b"]


def test_an_empty_index_finds_nothing():
    index = LexicalIndex()
    match = index.match(index.look_up(bag_of("Crash", "on start")), 0)
    assert len(match.text) == len(match.title) == len(match.rare) == 0


def test_titles_weigh_three_times_in_the_text():
    assert bag_of("crash", "crash settings").text == {"crash": 4, "set": 1}


def test_counts_beyond_a_byte_are_capped():
    index = indexed([Bag({}, {"a": 1_000}), Bag({}, {"b": 1})])
    assert index.terms(0).text == {index.vocabulary[key_of("a")]: 255}


def test_a_row_covered_by_itself_is_covered_whole():
    bags = random_bags(30)
    index = indexed(bags)
    rows = np.array([3, 7, 29])
    for at, row in enumerate(rows.tolist()):
        scores = index.match(index.look_up(bags[row]), 30).text
        assert index.covered(scores[rows], rows)[at] == pytest.approx(1.0)
    assert index.covered(np.zeros(3), rows).tolist() == [0.0, 0.0, 0.0]
    assert index.covered(np.zeros(0), rows[:0]).tolist() == []


def test_covered_does_not_count_the_issue_that_asks():
    bags = random_bags(12)
    alone, kept = indexed(bags[:11]), indexed(bags)
    rows, terms = np.arange(11), kept.look_up(bags[11])
    expected = alone.covered(alone.match(alone.look_up(bags[11]), 11).text, rows)
    found = kept.covered(kept.match(terms, 12, without=11).text[:11], rows, without=11)
    assert found == pytest.approx(expected)
