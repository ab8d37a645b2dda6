"""What is counted, as Prometheus shows it. Labels have few values: no name of a tenant, repository or person."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Metrics:
    """One process's numbers, in a registry of their own. Implements `ports.Observations`."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "deja_view_deliveries",
            "Webhook deliveries by event and HTTP status",
            ("event", "outcome"),
            registry=self.registry,
        )
        self.jobs = Counter(
            "deja_view_jobs",
            "Jobs by kind and how they were settled",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.job_seconds = Histogram(
            "deja_view_job_seconds",
            "Seconds that a job ran",
            ("kind",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._queue = Gauge(
            "deja_view_queue_jobs",
            "Jobs that are not done, by lane and state",
            ("lane", "state"),
            registry=self.registry,
        )
        self._oldest = Gauge(
            "deja_view_queue_oldest_seconds",
            "How long the oldest due job of a lane has waited",
            ("lane",),
            registry=self.registry,
        )
        self._periodic = Gauge(
            "deja_view_periodic_age_seconds",
            "How long ago each kind of periodic work was done",
            ("kind",),
            registry=self.registry,
        )
        self._missed = Gauge(
            "deja_view_missed_deliveries",
            "Deliveries that GitHub has and we have not, by state",
            ("state",),
            registry=self.registry,
        )
        self._stuck = Gauge(
            "deja_view_stuck",
            "Accounts and repositories that nothing is done for",
            ("what",),
            registry=self.registry,
        )
        self._answers = Counter(
            "deja_view_github_answers", "GitHub's answers by status", ("status",), registry=self.registry
        )
        self._skew = Gauge(
            "deja_view_clock_skew_seconds",
            "How far our clock is ahead of GitHub's",
            registry=self.registry,
        )
        self._decided = Counter(
            "deja_view_suggestions", "Decisions about an issue", ("outcome",), registry=self.registry
        )
        self._commented = Histogram(
            "deja_view_opened_to_comment_seconds",
            "From issue opened to comment posted",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._indexed = Counter(
            "deja_view_indexed_issues", "Issues embedded by the backfill", registry=self.registry
        )

    def decided(self, outcome: str) -> None:
        """A suggestion was decided: "spoken" or "silent"."""
        self._decided.labels(outcome=outcome).inc()

    def commented(self, seconds: float) -> None:
        """A first comment was posted, that long after its issue was opened."""
        self._commented.observe(max(0.0, seconds))

    def indexed(self, issues: int) -> None:
        """Issues were embedded."""
        self._indexed.inc(issues)

    def queue(self, depths: Iterable[tuple[str, str, int, float]]) -> None:
        """Set the queue's gauges: (lane, state, jobs, seconds that the oldest due one has waited)."""
        self._queue.clear()
        self._oldest.clear()
        for lane, state, jobs, oldest in depths:
            self._queue.labels(lane=lane, state=state).set(jobs)
            if state == "ready":
                self._oldest.labels(lane=lane).set(oldest)

    def periodic(self, ages: Mapping[str, float]) -> None:
        """Set how many seconds ago each kind was done."""
        for kind, age in ages.items():
            self._periodic.labels(kind=kind).set(age)

    def missed(self, waiting: int, given_up: int) -> None:
        """Set how many missed deliveries there are."""
        self._missed.labels(state="waiting").set(waiting)
        self._missed.labels(state="given_up").set(given_up)

    def stuck(self, accounts: int, repositories: int) -> None:
        """Set how many go nowhere."""
        self._stuck.labels(what="account").set(accounts)
        self._stuck.labels(what="repository").set(repositories)

    def heard(self, status: int, ahead: float | None) -> None:
        """GitHub answered; `ahead` is how many seconds our clock then was ahead of its, where it told the time."""
        self._answers.labels(status=str(status)).inc()
        if ahead is not None:
            self._skew.set(ahead)

    def render(self) -> bytes:
        """Prometheus text, version 0.0.4."""
        return generate_latest(self.registry)
