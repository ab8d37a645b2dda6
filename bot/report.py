"""Reports for a terminal."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.core.access import ApiKey
from bot.core.backtest import Example, Point, Report
from bot.core.records import JobView, Stuck


def backtest_text(full_name: str, report: Report) -> str:
    """A back-test: what each budget would have meant, what was chosen, and what would have been said."""
    lines = [
        f"{full_name}: {report.asked} issues asked again, {report.marked} of them marked as duplicates",
        "",
        "comments per 100   threshold   comments   right   precision   recall",
        *(row(item) for item in report.points),
        "",
        f"Verdict: {report.verdict}, from a score of {report.threshold:.2f}",
        f"  {report.reason}.",
        "  People do not mark every duplicate: precision is a lower bound.",
    ]
    if report.examples:
        lines += ["", "The latest it would have spoken about:", *(example(item) for item in report.examples)]
    return "\n".join(lines)


def row(item: Point) -> str:
    """One budget."""
    counts = f"{item.comments_per_100:16.1f}   {item.threshold:9.2f}   {item.comments:8}   {item.right:5}"
    return f"{counts}   {percent(item.precision):>9}   {percent(item.recall):>6}"


def percent(value: float | None) -> str:
    """A share; a dash where there is none."""
    return "-" if value is None else f"{value:.0%}"


def example(item: Example) -> str:
    """One issue with the earlier ones that would have been named."""
    verdict = "right" if item.right else "marked as a duplicate of another" if item.marked else "not marked"
    named = ", ".join(f"#{number}" for number in item.named)
    return f"  #{item.number} -> {named}   ({item.score:.1f}, {verdict})"


def keys_text(keys: Sequence[ApiKey], repositories: Mapping[int, str], now: datetime) -> str:
    """API keys, latest first, without anything that could be used."""
    if not keys:
        return "no API keys"
    lines = [f"{'id':12}  {'scope':5}  {'made':10}  {'used':10}  {'state':18}  name, repository"]
    for key in keys:
        where = "all repositories" if key.repository_id is None else repositories.get(key.repository_id, "?")
        used = "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d}"
        lines.append(
            f"{key.id:12}  {key.scope.word:5}  {key.created_at:%Y-%m-%d}  {used:10}  {state_of(key, now):18}  "
            f"{one_line(key.name)}, {where}"
        )
    return "\n".join(lines)


def state_of(key: ApiKey, now: datetime) -> str:
    """Whether a key is good for anything, and until when."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "lives"
    return f"{'until' if key.lives(now) else 'expired'} {key.expires_at:%Y-%m-%d}"


def jobs_text(jobs: Sequence[JobView], stuck: Sequence[Stuck], now: datetime) -> str:
    """Dead jobs, latest first, then what goes nowhere."""
    lines = [f"{len(jobs)} dead jobs" if jobs else "no dead jobs"]
    if jobs:
        lines += ["", f"{'id':>8}  {'age':>5}  {'tries':>5}  what, where, why"]
    for job in jobs:
        tries = f"{job.attempt}/{job.max_attempts}"
        lines.append(
            f"{job.id:8}  {age(job.ended_at, now):>5}  {tries:>5}  {what_of(job)}, {where_of(job)}: {one_line(job.reason)}"
        )
    if stuck:
        lines += ["", "Stuck:"]
        lines += [
            f"  {item.repository or item.account or item.account_id}, for {age(item.since, now)}: {one_line(item.why)}"
            for item in stuck
        ]
    return "\n".join(lines)


def job_text(job: JobView, now: datetime) -> str:
    """Everything about one job but its content."""
    rows = {
        "job": f"{job.id}, {job.state}",
        "what": f"{what_of(job)}, lane {job.lane.name.lower()}",
        "where": f"{where_of(job)}, account {job.account_id or 'unknown'}",
        "attempts": f"{job.attempt} of {job.max_attempts}",
        "reason": one_line(job.reason),
        "enqueued": f"{age(job.enqueued_at, now)} ago",
        "next try": f"{job.run_at:%Y-%m-%d %H:%M:%S} UTC" if job.state == "ready" else "none",
        "ended": f"{age(job.ended_at, now)} ago" if job.ended_at else "not yet",
        "delivery": str(job.delivery_id or "none"),
        "payload": json.dumps(job.payload),
        "progress": json.dumps(job.progress),
    }
    return "\n".join(f"{name:9} {value}" for name, value in rows.items())


def what_of(job: JobView) -> str:
    """The kind of a job, of a delivery its event."""
    return one_line(f"{job.kind} {job.event}" if job.event else job.kind)


def where_of(job: JobView) -> str:
    """The repository that a job is about, else its account."""
    return job.repository or job.account or (f"account {job.account_id}" if job.account_id else "everywhere")


def one_line(text: str | None) -> str:
    """Text from outside as a terminal may show it."""
    return "".join(char if char.isprintable() else " " for char in text or "no reason")


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that it fills."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
