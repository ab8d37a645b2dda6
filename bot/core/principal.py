"""Who makes a request of the API, for which account, and how much they may do there."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

ScopeWord = Literal["read", "write", "admin"]

WORDS: tuple[ScopeWord, ...] = ("read", "write", "admin")


class Scope(IntEnum):
    """What a credential allows; a greater scope includes the smaller."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> ScopeWord:
        """The scope as the API and the command line write it."""
        return WORDS[self - 1]

    @classmethod
    def of(cls, word: str) -> "Scope":
        """The scope that is written so. Raises ValueError."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"a scope is one of {', '.join(item.word for item in cls)}") from None


class Source(StrEnum):
    """What a request proved its identity with."""

    API_KEY = "api_key"
    ACTIONS = "actions"  # the identity of a GitHub Actions workflow
    USER = "user"  # a person who signed in
    ANONYMOUS = "anonymous"  # nothing: only what public repositories allow


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request. One principal belongs to one account, whatever else its person may reach on GitHub."""

    account_id: int
    scope: Scope
    source: Source
    repository_id: int | None = None  # the only repository it may touch; None: all of the account's
    key_id: str | None = None  # the API key it is, or was exchanged from
    user_id: int | None = None  # the person: what they may do in a repository is asked of GitHub
    login: str | None = None  # the person's, for the audit log
    token_id: str | None = None  # `jti` of the token, where it is one

    def may_touch(self, repository_id: int) -> bool:
        """Whether its credential reaches that repository at all."""
        return self.repository_id in (None, repository_id)
