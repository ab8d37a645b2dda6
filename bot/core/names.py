"""How the collection of a repository is named."""

import re

LONGEST = 128
"""Bytes, Chroma Cloud's limit for a collection's name (docs.trychroma.com/cloud/quotas-limits)."""

LONGEST_OWNER = 39
"""Characters of a GitHub login."""

FOREIGN = re.compile(r"[^a-z0-9._-]|\.{2,}")


def collection_name(account_id: int, owner: str, name: str, repository_id: int) -> str:
    """`repo_{account_id}_{owner}_{repo}_{repository_id}`, in at most 128 bytes, to be minted once and then stored.

    Chroma takes 3 to 512 of `[A-Za-z0-9._-]`, a letter or digit at both ends, no `..` and no IPv4 address. The repository
    id makes the name unique: owner and name alone collide, since `a` + `b_c` reads as `a_b` + `c`.
    """
    head = f"repo_{account_id}_{plain(owner)[:LONGEST_OWNER]}_"
    tail = f"_{repository_id}"
    return head + plain(name)[: LONGEST - len(head) - len(tail)] + tail


def plain(text: str) -> str:
    """Lower case, with `-` for every character that Chroma refuses and for every run of dots."""
    return FOREIGN.sub("-", text.lower())
