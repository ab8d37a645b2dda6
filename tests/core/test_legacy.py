import pytest
from pydantic import ValidationError

from bot.core.legacy import (
    DiscussionsMetricsRequest,
    FindSimilarRequest,
    IndexRequest,
    SuggestDiscussionsRequest,
    Weeks,
    indexed,
    labelled,
    similar,
    stats,
    suggested,
    validation_detail,
    wanted_label,
)
from tests.core.test_discussions import issue
from tests.core.test_report_duplicates import REPOSITORY

NAMED = {"owner": "octo", "repo": "hello"}
WEB = "https://github.com"


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        (IndexRequest, {}, {"max_issues": 100, "include_discussions": False, "issue_state": "open"}),
        (IndexRequest, {"max_issues": "5", "include_discussions": "true"}, {"max_issues": 5, "include_discussions": True}),
        (IndexRequest, {"max_issues": 5.0, "unknown": 1}, {"max_issues": 5}),
        (FindSimilarRequest, {"issue_number": "7"}, {"issue_number": 7, "top_k": 10, "min_similarity": 0.0}),
        (FindSimilarRequest, {"issue_number": 7, "top_k": 50, "min_similarity": "0.8"}, {"top_k": 50, "min_similarity": 0.8}),
        (SuggestDiscussionsRequest, {}, {"min_score": 0.5, "max_suggestions": 20, "dry_run": True, "add_labels": False}),
        (DiscussionsMetricsRequest, {}, {"weeks_back": 4}),
    ],
)  # fmt: skip
def test_requests_are_read_as_leniently_as_ever(model, given, expected):
    read = model.model_validate(NAMED | given)
    assert {name: getattr(read, name) for name in expected} == expected
    assert read.full_name == "octo/hello"


@pytest.mark.parametrize(
    ("model", "given", "loc", "kind"),
    [
        (IndexRequest, {"repo": None}, ["body", "repo"], "string_type"),
        (IndexRequest, {"owner": 5}, ["body", "owner"], "string_type"),
        (IndexRequest, {"max_issues": 0}, ["body", "max_issues"], "greater_than_equal"),
        (IndexRequest, {"max_issues": 1001}, ["body", "max_issues"], "less_than_equal"),
        (IndexRequest, {"max_issues": "many"}, ["body", "max_issues"], "int_parsing"),
        (IndexRequest, {"max_issues": 1.5}, ["body", "max_issues"], "int_from_float"),
        (IndexRequest, {"include_discussions": "perhaps"}, ["body", "include_discussions"], "bool_parsing"),
        (FindSimilarRequest, {}, ["body", "issue_number"], "missing"),
        (FindSimilarRequest, {"issue_number": 1, "top_k": 51}, ["body", "top_k"], "less_than_equal"),
        (FindSimilarRequest, {"issue_number": 1, "min_similarity": 1.1}, ["body", "min_similarity"], "less_than_equal"),
        (FindSimilarRequest, {"issue_number": 1, "min_similarity": -1}, ["body", "min_similarity"], "greater_than_equal"),
        (SuggestDiscussionsRequest, {"max_suggestions": 101}, ["body", "max_suggestions"], "less_than_equal"),
        (SuggestDiscussionsRequest, {"min_score": 2}, ["body", "min_score"], "less_than_equal"),
        (DiscussionsMetricsRequest, {"weeks_back": 53}, ["body", "weeks_back"], "less_than_equal"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_ever(model, given, loc, kind):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(NAMED | given)
    [told] = validation_detail(caught.value)
    assert (told["loc"], told["type"], set(told)) == (loc, kind, {"loc", "msg", "type"})


def test_every_fault_is_told_where_it_is():
    with pytest.raises(ValidationError) as caught:
        FindSimilarRequest.model_validate({"top_k": 0})
    assert [item["loc"][1] for item in validation_detail(caught.value)] == ["owner", "repo", "issue_number", "top_k"]  # fmt: skip
    with pytest.raises(ValidationError) as caught:
        Weeks.model_validate({"weeks_back": "0"})
    assert validation_detail(caught.value, "query")[0]["loc"] == ["query", "weeks_back"]


def test_values_are_not_told_back():
    with pytest.raises(ValidationError) as caught:
        IndexRequest.model_validate(NAMED | {"max_issues": "secret"})
    assert "secret" not in str(validation_detail(caught.value))


@pytest.mark.parametrize(
    ("issues", "done", "asked", "expected"),
    [
        (0, True, {}, {"indexed": 0, "repository": "octo/hello"}),
        (101, True, {}, {"indexed": 101, "issues": 101, "discussions": 0, "repository": "octo/hello", "batches": 2, "message": "Successfully indexed 101 issues"}),
        (0, False, {}, {"indexed": 0, "issues": 0, "discussions": 0, "repository": "octo/hello", "batches": 0, "message": "Indexing goes on in the background; 0 issues are indexed so far"}),
    ],
)  # fmt: skip
def test_indexed(issues, done, asked, expected):
    assert indexed(REPOSITORY, issues, done=done, asked=IndexRequest(**NAMED, **asked)) == expected


def test_that_discussions_are_not_indexed_is_said():
    asked = IndexRequest(**NAMED, include_discussions=True)
    assert indexed(REPOSITORY, 1, done=True, asked=asked)["message"].endswith(
        "Discussions are not indexed here"
    )


def test_similar():
    issues = {
        5: issue("Five", number=5, labels=("bug", "ui")),
        6: issue("Six", number=6, is_pull_request=True, state="closed"),
    }
    assert similar(REPOSITORY, 1, [(5, 0.912345), (7, 0.9), (6, 0.5)], issues, WEB) == {
        "query_issue": {"number": 1, "url": "https://github.com/octo/hello/issues/1"},
        "similar_issues": [
            {
                "number": 5, "title": "Five", "similarity": 0.9123, "state": "open", "url": "https://github.com/octo/hello/issues/5",
                "type": "issue", "is_pull_request": False, "is_discussion": False, "labels": ["bug", "ui"],
            },
            {
                "number": 6, "title": "Six", "similarity": 0.5, "state": "closed", "url": "https://github.com/octo/hello/pull/6",
                "type": "pull_request", "is_pull_request": True, "is_discussion": False, "labels": [],
            },
        ],
        "count": 2,
    }  # fmt: skip


def suggestion(number, confidence):
    return {"number": number, "confidence": confidence, "labels": []}


def test_suggested_and_labelled():
    found = [suggestion(1, "high"), suggestion(2, "medium"), suggestion(3, "low")]
    asked = SuggestDiscussionsRequest(**NAMED, dry_run=False, add_labels=True, min_score=0.25)
    answer = suggested(REPOSITORY, found, 9, asked)
    assert answer == {
        "suggestions": found, "total_analyzed": 9, "total_suggestions": 3, "repository": "octo/hello", "dry_run": False, "min_score": 0.25,
        "message": "3 issues could be discussions; nothing is converted, which only people can do",
    }  # fmt: skip
    told = labelled(answer, [1, 2], 0)
    assert told["labeled_issues"] == [
        {"number": 1, "labels": ["should-be-discussion"], "confidence": "high"},
        {"number": 2, "labels": ["discussion"], "confidence": "medium"},
    ]
    assert told["labels_applied"] is True
    assert labelled(answer, [], 2)["message"].endswith("2 labels are still to be written: ask again")
    assert labelled(answer, [], 0)["labels_applied"] is False


@pytest.mark.parametrize(
    ("changes", "labels"),
    [({}, False), ({"add_labels": True}, False), ({"dry_run": False}, False), ({"add_labels": True, "dry_run": False}, True)],
)  # fmt: skip
def test_labels_are_written_only_where_both_are_said(changes, labels):
    assert SuggestDiscussionsRequest(**NAMED, **changes).labels is labels


@pytest.mark.parametrize(
    ("confidence", "labels", "expected"),
    [
        ("high", ["ui"], "should-be-discussion"), ("medium", [], "discussion"), ("low", [], None), ("high", ["discussion"], None),
        ("medium", ["should-be-discussion"], None),
    ],
)  # fmt: skip
def test_no_second_label_is_wanted(confidence, labels, expected):
    assert wanted_label(suggestion(1, confidence) | {"labels": labels}) == expected


def test_nothing_to_analyse_is_said():
    asked = SuggestDiscussionsRequest(**NAMED)
    assert suggested(REPOSITORY, [], 0, asked)["message"] == "No issues found to analyze"
    assert suggested(REPOSITORY, [], 5, asked)["message"] == "Dry run: 0 issues could be discussions"


def test_stats():
    assert stats({"octo/b": 3, "octo/a": 4}) == {"total_issues": 7, "repositories": ["octo/a", "octo/b"]}
