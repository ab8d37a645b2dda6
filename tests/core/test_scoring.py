import math
from dataclasses import replace

import numpy as np
import pytest

from bot.core.records import Features
from bot.core.scoring import (
    COLD,
    COVER,
    LEXICAL,
    TEMPERATURE,
    WHITENED,
    Whitening,
    bm25_z,
    contrasted,
    fit_size,
    info_nce_slope,
    lexical_strength,
    parts,
    scaled,
    score,
    softmax,
    values_of,
    weights_for,
)

FULL = Features(0.5, 0.6, 0.4, 3.0, 9.0, True, 0.3, 0.4, 2.0)


@pytest.mark.parametrize(
    ("features", "weights"),
    [
        (FULL, WHITENED),
        (replace(FULL, whitened_text=None, whitened_title=None), COLD),
        (replace(FULL, cos_title=0.0, cos_text=0.0), LEXICAL),
    ],
)
def test_weights_fit_what_is_known(features, weights):
    assert weights_for(features) is weights
    assert score(features) == pytest.approx(weights.bias + sum(parts(features).values()))
    assert parts(features).keys() == weights.by_feature.keys() <= values_of(features).keys()


def test_the_score_is_a_sum():
    features = Features(0.5, 0.6, 0.4, 3.0, 9.0, same_author=True)
    by = COLD.by_feature
    z = COLD.bias + 0.5 * by["cos_title"] + 0.6 * by["cos_text"] + 0.4 * by["bm25_title_self"]
    assert score(features) == pytest.approx(
        z + 3 * by["bm25_z"] + math.log(10) * by["log_age"] + by["same_author"]
    )


@pytest.mark.parametrize(
    "name", ["cos_title", "cos_text", "bm25_title_self", "bm25_z", "age_days", "whitened_text", "rare_tokens"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_passes(name, value):
    z = score(replace(FULL, **{name: value}))
    assert z == -math.inf or (name == "age_days" and value == -math.inf)
    assert not math.isnan(z)


def test_an_issue_from_the_future_has_no_age():
    assert score(replace(FULL, age_days=-3.0)) == score(replace(FULL, age_days=0.0))


@pytest.mark.parametrize(
    ("ranked", "scores", "expected"),
    [
        ([10.0, 4.0, 2.0], [10.0, 3.0], [7.0, 0.0]),  # mean 3, deviation 1
        ([10.0, 2.0, 2.0], [10.0], [20.0]),  # a flat list: 3 % of the best, cut at 20
        ([100.0, 99.0, 99.0], [0.0], [-5.0]),
        ([10.0], [10.0], [0.0]),
        ([], [0.0], [0.0]),
    ],
)
def test_bm25_z(ranked, scores, expected):
    assert bm25_z(np.array(scores), np.array(ranked)).tolist() == pytest.approx(expected)


def test_bm25_z_looks_at_fifty_and_no_more():
    ranked = np.array([10.0, *[5.0] * 50, *[0.0] * 100])
    assert bm25_z(np.array([5.0]), ranked).tolist() == [0.0]


def test_whitening_shrinks_what_tells_titles_from_texts():
    rng = np.random.default_rng(7)
    texts = rng.normal(size=(400, 8)).astype(np.float32)
    titles = texts.copy()
    titles[:, 0] += rng.normal(scale=5, size=400)
    fitted = Whitening.fit(titles, texts)
    stretch = np.linalg.norm(fitted.map.T @ np.eye(8, dtype=np.float32), axis=0)
    assert stretch[0] < 0.5 * stretch[1:].min()
    np.testing.assert_allclose(fitted.text_mean, texts.mean(axis=0), atol=1e-5)


def test_whitening_bears_identical_vectors():
    same = np.ones((100, 4), np.float32) / 2
    assert np.isfinite(Whitening.fit(same, same).map).all()


@pytest.mark.parametrize(
    ("issues", "size"),
    [(0, 0), (99, 0), (100, 100), (250, 200), (499, 400), (500, 500), (1_499, 1_000), (10_000, 10_000)],
)
def test_fit_size(issues, size):
    assert fit_size(issues) == size


def test_a_candidate_covered_whole_counts_and_a_long_one_hardly():
    scores, ranked = np.array([4.0, 4.0]), np.array([9.0, 4.0, 3.0])
    whole, hardly = lexical_strength(scores, ranked, np.array([1.0, 0.01]))
    assert whole - hardly == pytest.approx(COVER * 0.9)


def test_training_tells_texts_from_those_of_other_issues():
    random = np.random.default_rng(1)
    noise = np.linspace(0, 4, 16, dtype=np.float32)
    texts = random.normal(size=(300, 16)).astype(np.float32)
    titles, texts = (
        scaled(texts + noise * random.normal(size=(300, 16)).astype(np.float32))[0],
        scaled(texts)[0],
    )
    plain = np.eye(16, dtype=np.float32)
    trained = contrasted(plain, titles, texts)
    assert loss(trained, titles, texts) < loss(plain, titles, texts) - 0.1
    assert (contrasted(plain, titles, texts) == trained).all()


def loss(mapping, titles, texts):
    logits = scaled(titles @ mapping)[0] @ scaled(texts @ mapping)[0].T / TEMPERATURE
    return -(np.log(softmax(logits, 1).diagonal()) + np.log(softmax(logits, 0).diagonal())).mean() / 2


def test_too_few_issues_to_train_on_leave_the_map_as_it_was():
    random = np.random.default_rng(1)
    titles, texts = (scaled(random.normal(size=(20, 8)).astype(np.float32))[0] for _ in range(2))
    start = np.eye(8, dtype=np.float32)
    assert (contrasted(start, titles, texts) == start).all()


def test_the_slope_is_the_derivative_of_the_loss():
    random = np.random.default_rng(2)
    titles, texts, mapping = (random.normal(size=shape) for shape in ((6, 5), (6, 5), (5, 5)))

    step = np.zeros((5, 5))
    step[2, 3] = 1e-5
    slope = (loss(mapping + step, titles, texts) - loss(mapping - step, titles, texts)) / 2e-5
    assert info_nce_slope(mapping, titles, texts)[2, 3] == pytest.approx(slope, rel=1e-4)
