"""A request with the right credentials: the App's own, or a token for one repository and one purpose."""

from dataclasses import dataclass

from bot.core.context import now
from bot.core.errors import CredentialsError
from bot.core.pace import THE_APP, Kind
from bot.github.auth import AppKeys
from bot.github.client import Answer, Client, Request, Wire
from bot.github.pace import Pace
from bot.github.tokens import Purpose, Scope, Token, Tokens, token_from


class AppAccess:
    """Requests that the App makes in its own name."""

    def __init__(self, wire: Wire, keys: AppKeys) -> None:
        """`keys` sign them."""
        self._wire, self._keys = wire, keys

    async def send(self, request: Request, installation_id: int = THE_APP) -> Answer:
        """Send, with the next key where GitHub refuses one.

        A request about an installation keeps to its pauses, any other one to the App's own.
        """
        client = Client(self._wire, installation_id)
        for _ in range(len(self._keys) - 1):
            token = self._keys.token()
            try:
                return await client.send(request, jwt=token)
            except CredentialsError:
                self._keys.refused(token)
        token = self._keys.token()
        try:
            return await client.send(request, jwt=token)
        except CredentialsError:
            self._keys.refused(token)
            raise

    async def mint(self, scope: Scope) -> Token:
        """Ask for an installation token.

        Asking twice does no harm, so this is repeated like a read, although it is a POST.
        """
        path = "app/installations/{installation}/access_tokens"
        request = Request(Kind.READ, "POST", path, {"installation": scope.installation_id}, scope.request())
        answer = await self.send(request, scope.installation_id)
        return token_from(answer.data, now())


@dataclass(frozen=True, slots=True)
class Access:
    """Requests about one repository (or all of an installation's, for listing), each with a token for its purpose."""

    wire: Wire
    tokens: Tokens
    pace: Pace
    installation_id: int
    repository_id: int | None = None

    async def send(self, request: Request, purpose: Purpose = Purpose.WORK) -> Answer:
        """Send at the installation's pace, with a token that is renewed once where GitHub refuses it.

        A refused request did nothing, so that writes are repeated too. Raises GitHubError.
        """
        scope = Scope(self.installation_id, self.repository_id, purpose)
        async with self.pace.slot(self.installation_id, request.kind):
            token = await self.tokens.get(scope)
            try:
                return await self._send_with(request, scope, token)
            except CredentialsError:
                if token.young():
                    raise
            return await self._send_with(request, scope, await self.tokens.get(scope))

    async def _send_with(self, request: Request, scope: Scope, token: Token) -> Answer:
        """Send; a refusal counts only when GitHub had the time to spread a new token."""
        client = Client(self.wire, self.installation_id)
        for delay in self.wire.api.young_token_retries:
            if not token.young():
                break
            try:
                return await client.send(request, token=token.value)
            except CredentialsError:
                await client.sleep(delay)
        try:
            return await client.send(request, token=token.value)
        except CredentialsError:
            self.tokens.refused(scope, token)
            raise
