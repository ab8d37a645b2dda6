"""`issue_comment`: finds slash commands, asks GitHub who may give them, runs them, acknowledges; notes a refusal."""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

import structlog

from bot.core.commands import MAX_CALLS, Call, changed_calls, find_calls, may, parse
from bot.core.comment import error_reply
from bot.core.context import Context
from bot.core.errors import GoneError, InvalidRequestError, NotFoundError, RefusedError, SkipError, TellError
from bot.core.payload import comment_from, issue_from, sender_from
from bot.core.records import Comment, EffectState, Issue, Repository
from handlers.commands import COMMANDS
from handlers.invocation import Ack, Invocation
from handlers.marking import note_mark
from handlers.refusing import withdrawn
from handlers.repository_config import config_of
from handlers.target import target_of
from handlers.writing import write_comment

log = structlog.get_logger()

Payload = dict[str, Any]

EDIT_WINDOW = timedelta(minutes=10)
"""How long an edit of a comment may still change its commands."""


async def created(ctx: Context, payload: Payload) -> None:
    """A new comment: run its commands, or remember that it marks the issue as a duplicate."""
    comment = comment_from(payload.get("comment"))
    calls = find_calls(comment.body, ctx.services.app.slug)
    if calls:
        await run_calls(ctx, payload, comment, calls)
        return
    target = await target_of(ctx, payload)
    if not await note_mark(
        ctx, target.repository, issue_from(payload.get("issue"), target.repository.id), comment
    ):
        raise SkipError("no command")


async def edited(ctx: Context, payload: Payload) -> None:
    """An edited comment: run the commands that its own author changed, while the comment is young."""
    comment = comment_from(payload.get("comment"))
    if sender_from(payload.get("sender")).id != comment.author_id:
        # Maintainers may edit anybody's comment; that must not act with the author's rights.
        raise SkipError("edited by somebody else than its author")
    if ctx.services.clock() - comment.created_at > EDIT_WINDOW:
        raise SkipError("the comment is too old for its commands to change")
    before = ((payload.get("changes") or {}).get("body") or {}).get("from")
    calls = changed_calls(
        before if isinstance(before, str) else comment.body, comment.body, ctx.services.app.slug
    )
    await run_calls(ctx, payload, comment, calls)


async def deleted(ctx: Context, payload: Payload) -> None:
    """Somebody deleted a comment of ours: where it was the suggestion, that is a refusal, and it stays away."""
    comment, target = comment_from(payload.get("comment")), await target_of(ctx, payload)
    issue = issue_from(payload.get("issue"), target.repository.id)
    if comment.app_id != ctx.services.app.id:
        raise SkipError("not our comment")
    await withdrawn(ctx, target.repository, issue.number, comment.id, sender_from(payload.get("sender")).id)


async def run_calls(ctx: Context, payload: Payload, comment: Comment, calls: Sequence[Call]) -> None:
    """Run each command of a comment, in order. Raises SkipError where there is nothing to run."""
    if not calls:
        raise SkipError("no command")
    target = await target_of(ctx, payload)
    issue = issue_from(payload.get("issue"), target.repository.id)
    if issue.is_pull_request:
        raise SkipError("commands are for issues")
    fresh = await current(ctx, target.repository, comment)
    for call in calls[:MAX_CALLS]:
        await run_once(ctx, target.repository, issue, fresh, call)


async def current(ctx: Context, repository: Repository, comment: Comment) -> Comment:
    """The comment as it is now. Raises SkipError where it was deleted, NotFoundError where that is not sure yet."""
    try:
        return await ctx.services.github.repository(repository).get_comment(comment.id)
    except NotFoundError:
        # A replica that is behind does not show the comment yet: a second look tells that from a deletion.
        if ctx.job.attempt == 1:
            raise
        raise SkipError("the comment was deleted") from None
    except GoneError:
        raise SkipError("the comment was deleted") from None


async def run_once(ctx: Context, repository: Repository, issue: Issue, comment: Comment, call: Call) -> None:
    """Run one command unless an earlier attempt or delivery did; its effect row remembers."""
    effects = ctx.services.effects
    name = f"{comment.id}:{sha256(call.raw.encode()).hexdigest()[:12]}"
    effect = await effects.intend(
        repository.account_id, repository.id, issue.number, f"command:{name}", call.raw
    )
    if effect.state is EffectState.DONE:
        return
    ack = await answer(ctx, repository, issue, comment, call, f"reply:{name}")
    await acknowledge(ctx, repository, comment, ack)
    await ctx.services.usage.add(repository.account_id, "commands")
    log.info("command", name=call.name, issue=issue.number, ack=ack.value)
    effect = await effects.sending(effect, call.raw)
    await effects.done(effect, None)


async def answer(
    ctx: Context, repository: Repository, issue: Issue, comment: Comment, call: Call, reply_key: str
) -> Ack:
    """Check, run, and tell the person what is wrong, if they may be told."""
    config = await config_of(ctx, repository)
    role = await ctx.services.github.repository(repository).role(comment.author or "")
    is_author = comment.author_id is not None and comment.author_id == issue.author_id
    if not may(call.name, role, config, is_author=is_author):
        return Ack.REFUSED
    await acknowledge(ctx, repository, comment, Ack.SEEN)
    try:
        command = parse(call, repository.full_name, issue.number)
        invocation = Invocation(repository, issue, comment, command, role, config, reply_key)
        return await COMMANDS[command.name](ctx, invocation)
    except TellError as error:
        body = error_reply(
            ctx.services.marker_key,
            repository,
            issue.number,
            reply_key,
            comment.author,
            call.raw,
            error.markdown,
        )
        await write_comment(ctx, repository, issue.number, reply_key, body)
        return Ack.REFUSED


async def acknowledge(ctx: Context, repository: Repository, comment: Comment, ack: Ack) -> None:
    """React to the command; a reaction that GitHub refuses must not undo the command."""
    try:
        await ctx.services.github.repository(repository).react(comment.id, ack.value)
    except (NotFoundError, GoneError, RefusedError, InvalidRequestError) as error:
        log.info("not_acknowledged", reason=str(error))


ROUTES = {
    ("issue_comment", "created"): created,
    ("issue_comment", "edited"): edited,
    ("issue_comment", "deleted"): deleted,
}
