import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.core.ports import Observations
from bot.metrics import Metrics


def samples(metrics):
    """Every sample by name and labels, as Prometheus reads the page."""
    page = metrics.render().decode()
    return {
        (sample.name.removeprefix("deja_view_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_behaviour_observes_is_counted():
    metrics: Observations = Metrics()
    metrics.decided("spoken")
    metrics.decided("silent")
    metrics.decided("silent")
    metrics.indexed(64)
    metrics.indexed(36)
    metrics.commented(3.0)
    metrics.commented(-5.0)  # clocks differ
    shown = samples(metrics)
    assert (shown["suggestions_total", "spoken"], shown["suggestions_total", "silent"]) == (1, 2)
    assert shown[("indexed_issues_total",)] == 100
    assert shown[("opened_to_comment_seconds_count",)] == 2
    assert shown[("opened_to_comment_seconds_sum",)] == 3.0
    assert shown["opened_to_comment_seconds_bucket", "0.05"] == 1
    assert shown["opened_to_comment_seconds_bucket", "5.0"] == 2
    assert shown["opened_to_comment_seconds_bucket", "30.0"] == 2  # the promise: a comment within 30 seconds


def test_webhooks_and_jobs_are_counted_by_outcome():
    metrics = Metrics()
    metrics.deliveries.labels(event="issues", outcome="202").inc()
    metrics.jobs.labels(kind="delivery", outcome="finish").inc()
    metrics.job_seconds.labels(kind="delivery").observe(0.2)
    shown = samples(metrics)
    assert shown["deliveries_total", "202", "issues"] == 1
    assert shown["jobs_total", "delivery", "finish"] == 1
    assert shown["job_seconds_bucket", "0.25", "delivery"] == 1


def test_the_queue_shows_what_is_there_now():
    metrics = Metrics()
    metrics.queue(
        [("webhook", "ready", 3, 12.5), ("webhook", "running", 1, 0.0), ("backfill", "dead", 2, 0.0)]
    )
    shown = samples(metrics)
    assert shown["queue_jobs", "ready", "webhook"] == 3
    assert shown["queue_jobs", "backfill", "dead"] == 2
    assert shown["queue_oldest_seconds", "webhook"] == 12.5
    assert ("queue_oldest_seconds", "backfill") not in shown
    metrics.queue([("command", "ready", 1, 1.0)])
    queue = {key for key in samples(metrics) if key[0].startswith("queue")}
    assert queue == {("queue_jobs", "command", "ready"), ("queue_oldest_seconds", "command")}


def test_each_condition_that_an_operator_has_to_hear_of_is_a_number():
    metrics = Metrics()
    metrics.periodic({"sweep_deliveries": 1_200.0})
    metrics.missed(3, 1)
    metrics.stuck(2, 1)
    metrics.heard(401, 6.5)
    metrics.heard(200, None)
    shown = samples(metrics)
    assert shown["periodic_age_seconds", "sweep_deliveries"] == 1_200
    assert (shown["missed_deliveries", "waiting"], shown["missed_deliveries", "given_up"]) == (3, 1)
    assert (shown["stuck", "account"], shown["stuck", "repository"]) == (2, 1)
    assert (shown["github_answers_total", "401"], shown["github_answers_total", "200"]) == (1, 1)
    assert shown[("clock_skew_seconds",)] == 6.5


def test_processes_do_not_share_numbers():
    one, two = Metrics(), Metrics()
    one.indexed(5)
    assert samples(two)[("indexed_issues_total",)] == 0


@pytest.mark.parametrize("word", ["repository", "account", "login", "issue_number", "installation"])
def test_no_label_names_a_tenant(word):
    labels = re.findall(r'([a-z_]+)="', Metrics().render().decode())
    assert word not in labels


def test_each_metric_is_explained():
    page = Metrics().render().decode()
    names = {
        line.split()[2]
        for line in page.splitlines()
        if line.startswith("# TYPE") and not line.split()[2].endswith("_created")
    }
    explained = {
        line.split()[2] for line in page.splitlines() if line.startswith("# HELP") and len(line.split()) > 4
    }
    assert names <= explained
    assert all(name.startswith("deja_view_") for name in names)
