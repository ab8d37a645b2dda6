"""One slash command, ready to run: what was asked, by whom, where."""

from dataclasses import dataclass
from enum import StrEnum

from bot.core.commands import Command
from bot.core.records import Comment, Issue, Repository, Role
from bot.core.repo_config import Config


class Ack(StrEnum):
    """The reaction that says what became of a command."""

    SEEN = "eyes"
    DONE = "+1"
    STARTED = "rocket"
    REFUSED = "confused"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A parsed command whose sender may give it."""

    repository: Repository
    issue: Issue  # as the event showed it
    comment: Comment
    command: Command
    role: Role
    config: Config
    reply_key: str  # the effect key of an answer to this command
