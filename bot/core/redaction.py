"""Secrets in text, known by their shape: for logs, for what is stored about failures, and for what we write on GitHub."""

import re

HIDDEN = "***"

SHAPES = re.compile(
    r"gh[a-z]_\w{16,}(?:[.-]+\w+)*"
    r"|github_pat_\w{16,}"
    r"|v1\.[0-9a-f]{40}"
    r"|djv_[0-9A-Za-z]{12}_[0-9A-Za-z_]{4,}"
    r"|(?:sk|rk|pk)_(?:live|test)_\w{8,}"
    r"|whsec_\w{8,}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
    re.ASCII,
)
"""Tokens of GitHub (old installation tokens too), API keys of ours, keys of Stripe, private keys."""

JSON_WEB_TOKEN = re.compile(r"(?<![\w-])[\w-]{11,}+\.eyJ[\w-]{5,}+(?:\.[\w-]++)*+", re.ASCII)
"""Two parts or more in base64url, the second of which begins as JSON does. It starts where a word does, so that no text
makes it look at the same characters again and again."""


def without_secrets(text: str) -> str:
    """The text with `***` for everything that looks like a secret. Linear in its length."""
    return JSON_WEB_TOKEN.sub(token_hidden, SHAPES.sub(HIDDEN, text))


def token_hidden(match: re.Match[str]) -> str:
    """A JSON web token hidden; what stands before it in the same word is shown."""
    before, found, _ = match[0].partition("eyJ")
    return before + HIDDEN if found else before
