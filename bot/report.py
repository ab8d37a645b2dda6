"""Reports for a terminal."""

from bot.core.backtest import Example, Point, Report


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
