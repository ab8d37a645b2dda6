"""People's tokens on their way into PostgreSQL and out of it: each sealed for its own column and row."""

from bot.core.access import SealedTokens
from bot.core.identity import UserTokens
from bot.core.sealing import Place, Sealer


def token_place(column: str, user_id: int) -> Place:
    """Where a token of a person stands; `column` is `access_token` or `refresh_token`."""
    return Place("users", column, str(user_id))


def sealed_tokens(sealer: Sealer, user_id: int, tokens: UserTokens) -> SealedTokens:
    """The tokens as they are kept. Raises SealError."""
    refresh = tokens.refresh

    def seal(token: str, column: str) -> bytes:
        return sealer.seal(token.encode(), token_place(column, user_id))

    return SealedTokens(
        access=seal(tokens.access, "access_token"),
        refresh=None if refresh is None else seal(refresh, "refresh_token"),
        access_ends=tokens.access_ends,
        refresh_ends=tokens.refresh_ends,
    )


def opened_tokens(sealer: Sealer, user_id: int, kept: SealedTokens) -> UserTokens:
    """The tokens that are kept of a person. Raises SealError."""

    def open_(token: bytes, column: str) -> str:
        return sealer.open(token, token_place(column, user_id)).decode()

    return UserTokens(
        access=open_(kept.access, "access_token"),
        access_ends=kept.access_ends,
        refresh=None if kept.refresh is None else open_(kept.refresh, "refresh_token"),
        refresh_ends=kept.refresh_ends,
    )
