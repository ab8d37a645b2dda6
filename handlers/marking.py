"""Somebody with rights says in plain words that an issue is a duplicate: remembered, and nothing else is done about it."""

import structlog

from bot.core.context import Context
from bot.core.duplicates import marked_original, would_circle
from bot.core.records import Comment, Issue, Outcome, OutcomeKind, Repository, Role

log = structlog.get_logger()


async def note_mark(ctx: Context, repository: Repository, issue: Issue, comment: Comment) -> bool:
    """Whether a comment marks the issue as a duplicate; the mark is then kept, and our suggestion confirmed if it named it."""
    services, key = ctx.services, (repository.account_id, repository.id)
    original = marked_original(comment.body, repository.full_name)
    if original is None or issue.is_pull_request:
        return False
    if await services.github.repository(repository).role(comment.author or "") < Role.TRIAGE:
        return False
    if would_circle(await services.marks.all(*key), issue.number, original):
        return False
    await services.marks.save(*key, {issue.number: original})
    suggestion = await services.suggestions.get(*key, issue.number)
    if suggestion is not None:
        named = original in (*suggestion.likely, *suggestion.also) and suggestion.spoken
        kind = OutcomeKind.CONFIRMED if named else OutcomeKind.MISSED
        await services.suggestions.record(
            Outcome(*key, issue.number, original, kind, comment.author_id, "comment")
        )
    log.info("marked", issue=issue.number, original=original)
    return True
