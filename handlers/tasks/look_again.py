"""A later look at an issue: its text was edited meanwhile, or an issue that our comment names was deleted."""

from bot.core.context import Context
from bot.core.errors import DeadError
from handlers.suggesting import suggest
from handlers.tasks.subject import repository_of


async def look_again(ctx: Context) -> None:
    """Decide anew; a comment that stands is made to agree."""
    repository, number = await repository_of(ctx), ctx.job.payload.get("number")
    if not isinstance(number, int):
        raise DeadError("the job names no issue")
    await suggest(ctx, repository, number)
