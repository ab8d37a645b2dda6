import asyncio
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bot.core.backtest import asked_of, judge
from bot.core.decision import Question, decide
from bot.core.errors import CollectionBrokenError, SearchUnavailableError
from bot.core.hashing import content_hash
from bot.core.kept import Batch
from bot.core.records import Issue, Repository, RepositoryState, StoredIssue
from bot.core.repo_config import Config
from bot.core.tokens import tokens
from bot.similarity.histories import Histories
from bot.similarity.service import SimilarityService
from tests.pace import allowed

START = datetime(2025, 1, 1, tzinfo=UTC)


def repository(identity=1):
    return Repository(
        identity, 9, 5, "owner", f"repo{identity}", False, f"c{identity}", RepositoryState.ACTIVE, None, None, None, 0, 0, None, None, None
    )  # fmt: skip


def issue(number, title, body="", **changes):
    values = {
        "repository_id": 1, "number": number, "github_id": number, "title": title, "body": body, "state": "open", "state_reason": None,
        "author": None, "author_id": None, "author_is_bot": False, "labels": (), "is_pull_request": False, "locked": False, "reactions": 0,
        "created_at": START + timedelta(days=number), "updated_at": START,
    }  # fmt: skip
    return Issue(**(values | changes))


class WordEmbedder:
    """A vector is the sum of one random direction per word: like texts are near, and no model has to be loaded."""

    model = "words"

    def __init__(self):
        self.texts = []
        self.broken = False

    async def embed(self, texts, urgent=False):
        if self.broken:
            raise RuntimeError("out of memory")
        self.texts.extend(texts)
        return np.stack([unit(sum(direction(token) for token in tokens(text) or ["-"])) for text in texts])


def direction(token):
    return np.random.default_rng(list(token.encode())).normal(size=384)


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class MemoryIssues:
    """`ports.Issues` as far as similarity uses it."""

    def __init__(self):
        self.rows, self.removed, self.revision, self.streamed = {}, {}, 0, 0

    def save(self, *issues):
        for item in issues:
            self.revision += 1
            self.rows[item.number] = StoredIssue(item, self.revision, None, None)

    def delete(self, *numbers):
        for number in numbers:
            self.revision += 1
            del self.rows[number]
            self.removed[number] = self.revision

    async def get(self, account_id, repository_id, numbers):
        return {number: self.rows[number] for number in numbers if number in self.rows}

    async def set_vectors(self, account_id, repository_id, model, vectors, words=None):
        for number, (digest, title, text) in vectors.items():
            item = self.rows[number].issue
            if digest == content_hash(item.title, item.body):
                self.revision += 1
                self.rows[number] = StoredIssue(item, self.revision, title, text)

    async def read(self, account_id, repository_id, *, after_revision=0):
        async for batch in self.stream(account_id, repository_id, after_revision=after_revision):
            yield Batch(None, {row.issue.number: row for row in batch}, batch[-1].revision)

    async def stream(self, account_id, repository_id, *, after_revision=0):
        rows = sorted(
            (row for row in self.rows.values() if row.revision > after_revision), key=lambda row: row.revision
        )
        for start in range(0, len(rows), 300):
            self.streamed += len(rows[start : start + 300])
            yield rows[start : start + 300]

    async def removed_since(self, account_id, repository_id, after_revision):
        return [number for number, revision in self.removed.items() if revision > after_revision]


class MemoryCollections:
    """`ports.Collections` over a dict; raises `fault` where one is set."""

    def __init__(self):
        self.records, self.fault, self.asked = {}, None, []
        self.open = asyncio.Event()
        self.open.set()

    def _check(self):
        if self.fault is not None:
            raise self.fault

    async def upsert(self, repository, model, records):
        self._check()
        self.records.update({number: vector for number, vector, _ in records})

    async def remove(self, repository, numbers):
        self._check()
        for number in numbers:
            self.records.pop(number, None)

    async def query(self, repository, model, vector, k):
        self._check()
        await self.open.wait()
        self.asked.append(k)
        found = sorted(
            ((number, float(item @ vector)) for number, item in self.records.items()),
            key=lambda pair: -pair[1],
        )
        return found[:k]

    async def reset(self, repository, model):
        self.records.clear()

    async def drop(self, repository):
        self.records.clear()


class World:
    def __init__(self):
        self.issues, self.embedder, self.collections, self.reported = (
            MemoryIssues(),
            WordEmbedder(),
            MemoryCollections(),
            [],
        )

        self.service = SimilarityService(
            self.issues, self.embedder, self.collections, on_broken=self.on_broken
        )

    async def on_broken(self, item):
        self.reported.append(item.id)

    async def save(self, *issues):
        self.issues.save(*issues)
        await self.service.index(repository(), [item.number for item in issues])

    async def rank(self, item, limit=10):
        return await self.service.rank(repository(), item, limit=limit)


@pytest.fixture
async def world():
    made = World()
    await made.save(
        *(
            issue(number, f"Topic{number} about widget{number}", f"Body{number} with gadget{number}")
            for number in range(1, 121)
        ),
        issue(
            121, "Crash when opening settings on Wayland", "wl_display_dispatch: Broken pipe in openSettings"
        ),
        issue(122, "Printing is slow", "The spooler takes a minute"),
    )
    return made


NEW = issue(
    200, "Settings crash on wayland", "Since today: wl_display_dispatch: Broken pipe, then it is gone"
)


def numbers(ranking):
    return [item.number for item in ranking.candidates]


async def test_the_earlier_report_comes_first(world):
    ranking = await world.rank(NEW)
    assert numbers(ranking)[0] == 121
    assert (ranking.degraded, ranking.history, ranking.model) == (None, 122, world.service.model)
    assert len(ranking.candidates) == 10
    assert {"wl_display_dispatch", "Broken", "pipe"} <= set(ranking.candidates[0].shared_terms)
    assert ranking.candidates[0].features.whitened_text is not None


async def test_an_issue_is_ranked_the_same_before_and_after_it_is_indexed(world):
    before = await world.rank(NEW)
    await world.save(NEW)
    embedded = len(world.embedder.texts)
    after = await world.rank(NEW)
    assert numbers(after)[:3] == numbers(before)[:3]
    assert after.candidates[0].score == pytest.approx(before.candidates[0].score, abs=0.01)
    assert after.history == before.history
    assert len(world.embedder.texts) == embedded, "its vectors were at hand"


async def test_an_edited_text_is_embedded_anew(world):
    await world.save(NEW)
    embedded = len(world.embedder.texts)
    await world.rank(issue(200, "Printing is slow", "spooler"))
    assert len(world.embedder.texts) == embedded + 2


@pytest.mark.parametrize(
    "later",
    [
        issue(201, "Settings crash on wayland", NEW.body),
        issue(199, "Settings crash on wayland", NEW.body, created_at=NEW.created_at + timedelta(seconds=1)),
        NEW,
    ],
    ids=["greater number", "created later", "itself"],
)
async def test_only_earlier_issues_are_candidates(world, later):
    await world.save(later)
    assert later.number not in numbers(await world.rank(NEW))
    assert await world.service.compare(repository(), NEW, later.number) is None


async def test_candidates_are_as_the_database_has_them_now(world):
    world.issues.save(
        issue(
            121, "Crash when opening settings on Wayland", NEW.body, state="closed", state_reason="completed"
        )
    )
    first = (await world.rank(NEW)).candidates[0]
    assert (first.number, first.issue.state) == (121, "closed")


async def test_an_issue_that_left_is_no_candidate(world):
    assert numbers(await world.rank(NEW))[0] == 121
    world.issues.delete(121)
    assert 121 not in numbers(await world.rank(NEW))


async def test_an_issue_that_came_back_is_a_candidate_again(world):
    back = world.issues.rows[121].issue
    await world.rank(NEW)
    world.issues.delete(121)
    await world.save(back)
    assert 121 in numbers(await world.rank(NEW))


async def test_forgotten_issues_leave_collection_and_memory(world):
    await world.rank(NEW)
    world.issues.delete(121)
    await world.service.forget(repository(), [121])
    assert 121 not in world.collections.records
    assert 121 not in numbers(await world.rank(NEW))


@pytest.mark.parametrize("fault", [CollectionBrokenError("gone"), SearchUnavailableError("no answer")])
async def test_without_chroma_the_vectors_in_memory_find_the_same(world, fault):
    whole = await world.rank(NEW)
    world.collections.fault = fault
    ranking = await world.rank(NEW)
    assert numbers(ranking) == numbers(whole)
    assert ranking.degraded == "Chroma unavailable"
    assert ranking.model == whole.model
    assert world.reported == [1]


@pytest.mark.parametrize("act", ["index", "forget"])
async def test_a_write_that_chroma_missed_is_made_up_for_by_a_rebuild(world, act):
    world.collections.fault = SearchUnavailableError("no answer")
    await getattr(world.service, act)(repository(), [121])
    assert world.reported == [1]
    world.collections.fault = None
    world.collections.records.clear()
    assert await world.service.rebuild(repository()) == 122
    assert world.collections.records.keys() == world.issues.rows.keys()


async def test_without_the_model_words_alone_decide(world):
    world.embedder.broken = True
    ranking = await world.rank(NEW)
    assert numbers(ranking)[0] == 121
    assert ranking.degraded == "embedding model unavailable"
    assert ranking.model != world.service.model, "no threshold was calibrated for it"
    assert world.reported == []


async def test_the_collection_and_the_vectors_in_memory_give_the_same_fifty(world):
    async with Histories(world.issues).use(repository()) as history:
        for number in (121, 60, 7):
            asked = history.entry(number)
            found = await world.collections.query(
                repository(), "words", asked.text, 50 + history.later(asked)
            )
            earlier = [other for other, _ in found if other < number][:50]
            assert history.nearest(asked, 50) == earlier


def started_again(world):
    world.service = SimilarityService(
        world.issues, world.embedder, world.collections, on_broken=world.on_broken
    )
    return world


async def settled(world):
    while world.service._opening:
        await asyncio.sleep(0)


async def test_the_first_question_is_answered_from_memory_and_the_collection_asked_after_it(world):
    await world.rank(NEW)
    warm = await world.rank(NEW)
    world.collections.asked.clear()
    cold = await started_again(world).rank(NEW)
    assert world.collections.asked == [], "Chroma has to read the collection first"
    assert (numbers(cold), cold.degraded) == (numbers(warm), None)
    await settled(world)
    assert world.collections.asked == [50], "it is open by the next question"
    await world.rank(NEW)
    assert world.collections.asked == [50, 50]


@pytest.mark.parametrize("fault", [CollectionBrokenError("gone"), SearchUnavailableError("no answer")])
async def test_a_fault_that_the_first_question_did_not_meet_is_reported_right_after_it(world, fault):
    world.collections.fault = fault
    assert (await started_again(world).rank(NEW)).degraded is None
    await settled(world)
    assert world.reported == [1]
    assert (await world.rank(NEW)).degraded == "Chroma unavailable"


async def test_what_was_begun_after_the_first_question_ends_with_the_service(world):
    world.collections.open = asyncio.Event()
    await started_again(world).rank(NEW)
    (opening,) = world.service._opening
    await world.service.close()
    assert opening.cancelled()


async def test_the_collection_is_asked_for_enough_to_leave_fifty(world):
    await world.save(*(issue(number, f"Later{number}") for number in range(300, 330)), NEW)
    await world.rank(NEW)
    assert world.collections.asked[-1] == 50 + 31


async def test_an_old_issue_is_compared_in_memory(world):
    await world.save(*(issue(number, f"Later{number}") for number in range(300, 520)))
    asked = len(world.collections.asked)
    ranking = await world.rank(NEW)
    assert len(world.collections.asked) == asked
    assert (numbers(ranking)[0], ranking.degraded) == (121, None)


async def test_compare_agrees_with_rank(world):
    ranked = (await world.rank(NEW)).candidates[0]
    explained = await world.service.compare(repository(), NEW, 121)
    compared = explained.candidate
    assert (explained.ranking.model, explained.ranking.degraded) == (world.service.model, None)
    # Of one row or of many, a matrix product sums in another order.
    assert compared.score == pytest.approx(ranked.score, abs=1e-4)
    assert vars_of(compared.features) == pytest.approx(vars_of(ranked.features), abs=1e-5)
    assert (compared.number, compared.shared_terms) == (ranked.number, ranked.shared_terms)


async def test_without_the_model_a_pair_is_compared_by_words_and_says_so(world):
    world.embedder.broken = True
    explained = await world.service.compare(repository(), NEW, 121)
    assert explained.ranking.degraded == "embedding model unavailable"
    assert explained.ranking.model != world.service.model


MAP_ERROR = "```\nTypeError: cannot read map of {}\n```"


async def test_what_both_share_is_told_and_ranks_nothing(world):
    asked = issue(200, "[ui] Button broken", MAP_ERROR.format("undefined 7"), labels=("bug", "wayland"))
    await world.save(issue(123, "ui: Menu", MAP_ERROR.format("undefined 8"), labels=("Wayland", "bug")))
    before = {item.number: item for item in (await world.rank(asked)).candidates}
    found = before[123]
    told = (found.shared_error, found.shared_label, found.shared_prefix)
    assert told == ("TypeError: cannot read map of undefined #", "wayland", "ui")
    assert found.evidence()["shared_error"] == told[0]
    assert before[121].shared_error is None
    world.issues.rows[123] = replace(
        world.issues.rows[123], issue=replace(found.issue, labels=(), title="Menu", body="")
    )
    after = {item.number: item for item in (await world.rank(asked)).candidates}
    assert (after[123].score, after[123].shared_error, after[123].shared_label) == (found.score, None, None)


async def test_an_error_in_a_title_is_evidence_too(world):
    await world.save(issue(123, "error: cannot open display", "No window opens"))
    asked = issue(200, "No window after the update", "error: cannot open display")
    assert (await world.service.compare(repository(), asked, 123)).candidate.shared_error


async def test_what_is_left_out_of_the_new_issue_is_told_with_lines_learned_here(world):
    line = "Thanks for reporting to us"
    await world.save(
        *(issue(number, f"Report{number}", f"{line}\nWords{number}") for number in range(123, 201))
    )
    asked = issue(300, "Settings crash", f"> quoted\n{line}\nIt crashes")
    explained = await world.service.compare(repository(), asked, 121)
    assert [item.text for item in explained.left_out] == ["> quoted", line]


def vars_of(features):
    return {name: float(value or 0) for name, value in asdict(features).items()}


async def test_same_author_counts(world):
    mine = issue(130, "Keyboard layout is lost", "After suspend", author_id=7)
    await world.save(mine)
    asked = issue(200, "Keyboard layout lost", "after suspend", author_id=7)
    assert (await world.rank(asked)).candidates[0].features.same_author
    ghost = issue(201, "Keyboard layout lost", "after suspend")
    assert not (await world.rank(ghost)).candidates[0].features.same_author


async def test_the_past_of_a_short_history_says_to_be_careful(world):
    past = await world.service.past(repository())
    assert (past.careful, past.lowest) == (8.0, 3.0)


async def test_the_past_tells_what_would_have_been_shown(world):
    numbers = range(130, 420)
    await world.save(*(issue(number, f"Other{number} thing{number}", "body") for number in numbers))
    await world.save(issue(420, "Other300 thing300", "body"))
    past = await world.service.past(repository())
    shown = dict(past.shown)
    assert past.careful is None
    assert shown[420][0][0] == 300
    assert all(len(best) <= 3 and all(found < number for found, _ in best) for number, best in shown.items())


async def test_a_replay_leaves_the_loop_free(world):
    await world.save(
        *(issue(number, f"Other{number} thing{number}", "body text " * 50) for number in range(130, 700))
    )
    world.service._histories.forget(repository())
    work = asyncio.create_task(world.service.past(repository()))
    longest, began = 0.0, time.perf_counter()
    while not work.done():
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - start)
    assert len(work.result().shown) > 400
    assert longest < (time.perf_counter() - began) / 2


async def test_an_empty_repository_has_nothing_to_say():
    ranking = await World().rank(NEW)
    assert (ranking.candidates, ranking.history) == ((), 0)


@pytest.mark.parametrize("title", ["", "   ", "😀😀", "\u202e\u200d", "字" * 300, "a" * 60_000])
async def test_hostile_texts_are_ranked_without_a_fault(world, title):
    ranking = await world.rank(issue(200, title, title))
    assert all(np.isfinite(item.score) for item in ranking.candidates)


async def test_the_least_recently_used_history_makes_room(world):
    histories = Histories(world.issues, capacity=400_000)
    for identity in (1, 2, 3, 2):
        async with histories.use(repository(identity)) as history:
            assert len(history) == 122
    assert histories.held() == [2]


async def test_only_changes_are_read_again(world):
    await world.rank(NEW)
    read = world.issues.streamed
    await world.rank(NEW)
    assert world.issues.streamed == read
    world.issues.save(issue(122, "Printing is slow", "edited"))
    await world.rank(NEW)
    assert world.issues.streamed == read + 1


async def test_an_update_that_breaks_off_is_made_again(world):
    histories = Histories(world.issues)
    whole = world.issues.removed_since

    async def fails(*args):
        raise ConnectionError

    world.issues.delete(5)
    world.issues.removed_since = fails
    with pytest.raises(ConnectionError):
        async with histories.use(repository()):
            pass
    world.issues.removed_since = whole
    async with histories.use(repository()) as history:
        assert 5 not in history
        assert len(history) == 121


async def test_drop_forgets_everything(world):
    await world.rank(NEW)
    await world.service.drop(repository())
    assert world.service._histories.held() == []
    assert world.collections.records == {}


FORM = "### What happened?\n\n{}\n\n### Product edition\n\nCommunity\n\n### Terms\n\nI agree to follow the rules of this place."


@pytest.fixture(scope="module")
def templated():
    """A repository whose issues are copies of one template; every tenth is a chapter of one person's series."""
    made = World()
    made.issues.save(
        *(
            issue(number, f"Translate chapter {number} of the handbook", "", author_id=77)
            if number % 10 == 0
            else issue(number, f"Subject{number} misbehaves{number}", FORM.format(f"Story{number} tail{number}"), author_id=number)
            for number in range(1, 601)
        )
    )  # fmt: skip
    return made


TRACE = "\n".join(f"  at com.example.Service{n % 7}.run(Service.java:{n})" for n in range(2_000))


@pytest.mark.parametrize(
    ("title", "body", "author_id"),
    [
        ("Fresh trouble with teapots", FORM.format("_No response_"), 900),
        ("Bug report", FORM.format("_No response_"), 900),
        ("Fresh trouble with teapots", "", 900),
        ("Translate chapter 601 of the handbook", "", 77),
        ("🔥🔥🔥", "🔥" * 500, 900),
        ("Fresh trouble with teapots", TRACE, 900),
        ("Fresh trouble with teapots", "x" * 65_536, 900),
        ("Fresh trouble with teapots", "word " * 13_107, 900),
    ],
)
async def test_bad_input_leads_to_no_suggestion(templated, title, body, author_id):
    if not templated.embedder.texts:
        await templated.service.index(repository(), list(range(1, 601)))
    asked = issue(700, title, body, author_id=author_id)
    start = time.perf_counter()
    ranking = await templated.rank(asked)
    assert time.perf_counter() - start < allowed(2)
    decision = decide(Question(asked, "owner/repo", ranking, None, frozenset(), Config()))
    assert not decision.speak, decision.reason


async def test_the_repository_s_own_template_is_not_embedded():
    made = World()
    made.issues.save(*(issue(n, f"Subject{n}", FORM.format(f"Story{n}"), author_id=n) for n in range(1, 121)))
    await made.service.index(repository(), [5])
    assert made.embedder.texts == ["Subject5", "Subject5\nStory5"]
    await made.rank(issue(130, "Subject130", FORM.format("Story130")))
    assert made.embedder.texts[2:] == ["Subject130", "Subject130\nStory130"]


STORM = 50


@pytest.fixture(scope="module")
def calibrated(templated):
    """The threshold of that repository, by its own past, with the default budget."""

    async def found():
        if not templated.embedder.texts:
            await templated.service.index(repository(), list(range(1, 601)))
        past = await templated.service.past(repository())
        return judge(asked_of(past.shown, {}), past.lowest, past.careful, Config()).threshold

    return asyncio.run(found())


async def spoken(made, asked, threshold):
    """The issues under which the bot would comment, each indexed before the next one is opened."""
    found = []
    for item in asked:
        ranking = await made.rank(item)
        if decide(Question(item, "owner/repo", ranking, threshold, frozenset(), Config())).speak:
            found.append(item.number)
        await made.save(item)
    return found


@pytest.mark.parametrize(
    ("title", "body"),
    [
        ("Fresh trouble with teapots", FORM.format("_No response_")),
        ("Bug report", FORM.format("_No response_")),
        ("Fresh trouble with teapots", ""),
        ("Bug report", FORM.format("Story17 tail17")),
        ("🔥🔥🔥", "🔥" * 500),
        ("Fresh trouble with teapots", TRACE),
        ("Fresh trouble with teapots", "x" * 65_536),
    ],
)
async def test_a_calibrated_threshold_is_no_way_in_for_bad_input(templated, calibrated, title, body):
    asked = issue(700, title, body, author_id=900)
    ranking = await templated.rank(asked)
    decision = decide(Question(asked, "owner/repo", ranking, calibrated, frozenset(), Config()))
    assert not decision.speak, decision.reason


async def test_a_true_copy_passes_the_same_threshold(templated, calibrated):
    asked = issue(700, "Subject17 misbehaves17", FORM.format("Story17 tail17"), author_id=900)
    decision = decide(
        Question(asked, "owner/repo", await templated.rank(asked), calibrated, frozenset(), Config())
    )
    assert [item.number for item in decision.likely][:1] == [17]
    assert decision.speak


SERIES = {
    "one author within an hour": lambda n: (
        f"Report {n} of the nightly run",
        f"Step {n} took {n * 7} ms",
        77,
    ),
    "titles that differ by a digit": lambda n: (f"Crash in module 9{n:02}", FORM.format("_No response_"), 77),
    "copies of one template": lambda n: ("Bug report", FORM.format("_No response_"), 1_000 + n),
}


@pytest.mark.parametrize("name", SERIES)
async def test_a_flood_leads_to_no_storm_of_comments(name):
    made = World()
    made.issues.save(
        *(
            issue(n, f"Subject{n} misbehaves{n}", FORM.format(f"Story{n} tail{n}"), author_id=n)
            for n in range(1, 301)
        )
    )
    await made.service.index(repository(), list(range(1, 301)))
    past = await made.service.past(repository())
    threshold = judge(asked_of(past.shown, {}), past.lowest, past.careful, Config()).threshold
    opened = START + timedelta(days=400)
    flood = []
    for at in range(STORM):
        title, body, author = SERIES[name](at)
        flood.append(
            issue(500 + at, title, body, author_id=author, created_at=opened + timedelta(minutes=at))
        )
    assert await spoken(made, flood, threshold) == []


async def test_a_thousand_copies_of_one_template_are_replayed_without_a_comment():
    made = World()
    made.issues.save(
        *(issue(n, "Bug report", FORM.format("_No response_"), author_id=n) for n in range(1, 1_001))
    )
    await made.service.index(repository(), list(range(1, 1_001)))
    past = await made.service.past(repository())
    assert past.shown == (), "placeholders are not asked, so they use up no budget"
    asked = issue(1_500, "Bug report", FORM.format("_No response_"), author_id=2_000)
    ranking = await made.rank(asked)
    decision = decide(Question(asked, "owner/repo", ranking, past.lowest, frozenset(), Config()))
    assert not decision.speak, decision.reason
