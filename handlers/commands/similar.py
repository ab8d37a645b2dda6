"""`/dejaview similar [N] [state:…]`: the nearest earlier issues, whatever their score."""

from bot.core.comment import similar_comment
from bot.core.context import Context
from bot.core.decision import is_ignored
from bot.core.errors import TellError
from bot.core.finding import OVERFETCH
from bot.core.records import Candidate
from handlers.invocation import Ack, Invocation
from handlers.writing import SUGGESTION, write_comment


async def similar(ctx: Context, call: Invocation) -> Ack:
    """Refresh the issue's one comment with up to N matches, originals instead of their marked duplicates."""
    repository, number, limit = call.repository, call.issue.number, call.command.limit
    stored = (await ctx.services.issues.get(repository.account_id, repository.id, [number])).get(number)
    if stored is None:
        raise TellError("This issue is not in the index. `/dejaview index status` says what is.")
    ranking = await ctx.services.similarity.rank(repository, stored.issue, limit=limit * OVERFETCH)
    found = await ctx.services.finder.originals(repository, number, ranking.candidates)
    wanted = [item for item in found if shown(item, call)]
    body = similar_comment(
        ctx.services.marker_key, repository, stored.issue, wanted[:limit], ctx.services.web_url
    )
    await write_comment(ctx, repository, number, SUGGESTION, body)
    return Ack.DONE


def shown(item: Candidate, call: Invocation) -> bool:
    """Whether an issue may be listed: in the state that was asked for, and not ignored by the config."""
    return call.command.state in ("all", item.issue.state) and not is_ignored(item.issue, call.config)
