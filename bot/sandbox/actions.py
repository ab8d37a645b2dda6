"""The issuer of GitHub Actions' identity tokens. No HTTP here."""

import json
import secrets
import time
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from bot.sandbox.state import Repository
from bot.sandbox.tokens import RefusedTokenError

LIFETIME = 300
"""Seconds for which an identity token is valid."""


class Issuer:
    """Its keys, each made when it is first needed; the last one signs."""

    def __init__(self) -> None:
        """Without a key yet."""
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self._jobs: dict[str, Repository] = {}

    def begin_job(self, repository: Repository) -> str:
        """A job with `id-token: write` begins; gives the ACTIONS_ID_TOKEN_REQUEST_TOKEN of its steps."""
        token = secrets.token_urlsafe(32)
        self._jobs[token] = repository
        return token

    def identity(self, url: str, request_token: str, audience: str | None) -> str:
        """The identity token that a step of a job asks for. Raises RefusedTokenError."""
        repository = self._jobs.get(request_token)
        if repository is None:
            raise RefusedTokenError("Bad credentials")
        return self.token(url, repository, audience or f"https://github.com/{repository.owner.login}")

    @property
    def keys(self) -> dict[str, rsa.RSAPrivateKey]:
        """The published keys by their id."""
        if not self._keys:
            self.rotate()
        return self._keys

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with a new key from now on; the old ones are published on where they are kept."""
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = (self._keys if keep else {}) | {secrets.token_hex(20).upper(): made}

    def published(self) -> dict[str, Any]:
        """The JSON Web Key Set."""
        return {"keys": [self._published(kid, key) for kid, key in self.keys.items()]}

    @staticmethod
    def _published(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": public["n"], "e": public["e"]}

    def token(self, url: str, repository: Repository, audience: str, /, **changes: Any) -> str:
        """A workflow's identity token; a change to None leaves a claim out. `url` is the issuer's."""
        kid, key = list(self.keys.items())[-1]
        found = claims(url, repository, audience) | changes
        given = {name: value for name, value in found.items() if value is not None}
        return jwt.encode(given, key, "RS256", headers={"kid": kid})


def claims(url: str, repository: Repository, audience: str) -> dict[str, Any]:
    """What a token of a push to the default branch says: docs.github.com, "OpenID Connect reference". Ids are texts."""
    moment = int(time.time())
    ref = "refs/heads/main"
    return {
        "jti": str(uuid4()),
        "sub": f"repo:{repository.full_name}:ref:{ref}",
        "aud": audience,
        "iss": url,
        "iat": moment,
        "nbf": moment - 600,
        "exp": moment + LIFETIME,
        "ref": ref,
        "sha": secrets.token_hex(20),
        "repository": repository.full_name,
        "repository_id": str(repository.id),
        "repository_owner": repository.owner.login,
        "repository_owner_id": str(repository.owner.id),
        "repository_visibility": "private" if repository.private else "public",
        "run_id": "30433642",
        "run_number": "10",
        "run_attempt": "1",
        "actor": repository.owner.login,
        "actor_id": str(repository.owner.id),
        "workflow": "triage",
        "head_ref": "",
        "base_ref": "",
        "event_name": "issues",
        "ref_type": "branch",
        "job_workflow_ref": f"{repository.full_name}/.github/workflows/triage.yml@{ref}",
        "runner_environment": "github-hosted",
    }
