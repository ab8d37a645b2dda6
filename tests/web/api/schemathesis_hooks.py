"""What schemathesis cannot know: rules about a request that no JSON schema says."""

import json

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

RULES = {
    (400, "invalid_cursor"): None,  # a cursor is one that we gave
    (400, "ambiguous"): None,  # one credential
    (422, "idempotency_mismatch"): None,  # a key is used for one request
    (422, "invalid"): {
        "this is not the account's login",
        "it has to lie ahead, with a time zone",
        "it has to have printable characters, and no others",
        "an issue is no duplicate of itself",
        "it needs mode: shadow beside it",
        "to confirm needs the issue that it duplicates",
    },
}
"""Answers to what fits the schema and is refused all the same: status, code, and the details, where not all of them."""


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it is one."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    problem = json.loads(response.content)
    kind = (problem["status"], problem["code"])
    return kind not in RULES or (RULES[kind] is not None and problem["detail"] not in RULES[kind])
