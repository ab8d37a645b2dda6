"""A client of the parent project's API, as its users wrote theirs: from the page about it alone, with one header more.

It knows nothing of the service. What an answer lacks, or has too much, fails here.
"""

import re
from dataclasses import dataclass

DAY = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, status, detail, headers):
        super().__init__(f"{status} {detail}")
        self.status, self.detail, self.headers = status, detail, headers


def exactly(value, **types):
    """An object with these keys, each of its type, and no others."""
    assert set(value) == set(types), set(value) ^ set(types)
    for name, kind in types.items():
        assert isinstance(value[name], kind), (name, value[name])
        assert not (kind in (int, float) and isinstance(value[name], bool)), name
    return value


NUMBER = (int, float)


@dataclass
class Client:
    """`credential` is an API key or a token."""

    session: object
    url: str
    credential: str | None = None

    async def call(self, method, path, body=None, **more):
        headers = {"Authorization": f"Bearer {self.credential}"} if self.credential else {}
        async with self.session.request(
            method, self.url + path, json=body, headers=headers, **more
        ) as answer:
            assert answer.content_type == "application/json"
            found = await answer.json()
            if answer.status != 200:
                assert set(found) == {"detail"}, found
                if answer.status == 422:
                    for item in found["detail"]:
                        exactly(item, loc=list, msg=str, type=str)
                else:
                    assert isinstance(found["detail"], str)
                raise RefusedError(answer.status, found["detail"], answer.headers)
            return found

    async def health(self):
        return exactly(await self.call("GET", "/health"), status=str, version=str, service=str)

    async def welcome(self):
        return exactly(await self.call("GET", "/"), message=str, docs=str, health=str)

    async def index(self, owner, repo, **more):
        found = await self.call("POST", "/index", {"owner": owner, "repo": repo, **more})
        if found["indexed"] == 0 and "message" not in found:
            return exactly(found, indexed=int, repository=str)
        return exactly(
            found, indexed=int, issues=int, discussions=int, repository=str, batches=int, message=str
        )

    async def find_similar(self, owner, repo, number, **more):
        body = {"owner": owner, "repo": repo, "issue_number": number, **more}
        found = exactly(
            await self.call("POST", "/find_similar", body), query_issue=dict, similar_issues=list, count=int
        )
        exactly(found["query_issue"], number=int, url=str)
        for item in found["similar_issues"]:
            exactly(
                item, number=int, title=str, similarity=NUMBER, state=str, url=str, type=str, is_pull_request=bool, is_discussion=bool,
                labels=list,
            )  # fmt: skip
            assert item["type"] in ("issue", "pull_request", "discussion")
            assert item["similarity"] == round(item["similarity"], 4)
        assert found["count"] == len(found["similar_issues"])
        return found

    async def suggest_discussions(self, owner, repo, **more):
        found = await self.call("POST", "/suggest_discussions", {"owner": owner, "repo": repo, **more})
        types = {
            "suggestions": list, "total_analyzed": int, "total_suggestions": int, "repository": str, "dry_run": bool, "min_score": NUMBER,
            "message": str,
        }  # fmt: skip
        if more.get("add_labels") and not more.get("dry_run", True):
            types |= {"labeled_issues": list, "labels_applied": bool}
        exactly(found, **types)
        for item in found["suggestions"]:
            exactly(
                item, number=int, title=str, url=str, score=NUMBER, confidence=str, reasons=list, state=str, labels=list, created_at=str
            )  # fmt: skip
            score = item["score"]
            assert item["confidence"] == ("high" if score >= 0.7 else "medium" if score >= 0.5 else "low")
            assert MOMENT.fullmatch(item["created_at"])
        return found

    async def discussions_metrics(self, owner, repo, weeks_back=None, *, by_path=False):
        if by_path:
            query = f"?weeks_back={weeks_back}" if weeks_back is not None else ""
            found = await self.call("GET", f"/discussions_metrics/{owner}/{repo}{query}")
        else:
            more = {} if weeks_back is None else {"weeks_back": weeks_back}
            found = await self.call("POST", "/discussions_metrics", {"owner": owner, "repo": repo, **more})
        exactly(
            found, total_discussions=int, discussions_this_week=int, discussions_last_week=int, week_over_week_change=NUMBER,
            week_over_week_percentage=NUMBER, unanswered_qa=list, total_unanswered_qa=int, top_upvoted=list, category_breakdown=dict,
            answer_rate=NUMBER, avg_upvotes=NUMBER, period_start=str, period_end=str,
        )  # fmt: skip
        assert DAY.fullmatch(found["period_start"])
        assert DAY.fullmatch(found["period_end"])
        return found

    async def stats(self):
        found = exactly(await self.call("GET", "/stats"), total_issues=int, repositories=list)
        assert found["repositories"] == sorted(found["repositories"])
        return found

    async def clear(self):
        return exactly(await self.call("DELETE", "/clear"), message=str)
