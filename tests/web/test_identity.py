"""Stories of people who log in, and of those who should not: over a real database, with the time as the test says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.web.people import PASSWORD, VISITOR, TestClock, log_in, opened, people, signed_in, somebody
from tests.web.postgres import Postgres, binaries, postgres
from web.database.engine import DatabaseError
from web.database.tables import METADATA
from web.identity import totp
from web.identity.house import Identity
from web.identity.login import Visitor
from web.identity.people import PeopleError
from web.identity.person import Profile, Status
from web.identity.roles import Role, Scope
from web.identity.sessions import ABSOLUTE_MS, IDLE_MS, Level
from web.identity.tries import ACCOUNT

MINUTE_MS = 60_000
both = pytest.mark.parametrize("dsn", ["sqlite", "postgresql"], indirect=True)
"""By day too: what the database itself decides."""


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    if binaries() is None and "CI" not in os.environ:
        pytest.skip("Debian's postgresql is not installed (apt-get install postgresql)")
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"] if "RIVERBANK_NIGHTLY" in os.environ else ["sqlite"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; at night every story here is told of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/alder-bank.sqlite3"
    return request.getfixturevalue("cluster").new_database()


@pytest_asyncio.fixture
async def identity(dsn: str, clock: TestClock) -> AsyncIterator[Identity]:
    async with opened(dsn, clock) as made:
        yield made


@both
async def test_the_migrations_make_the_tables_that_the_code_knows(identity: Identity):
    """No column is missing, and none is there that nobody knows."""

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with identity.database.read() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.usefixtures("identity")
async def test_a_database_has_one_owner(dsn: str, clock: TestClock):
    """A portal that is pointed at another institution's database does not start."""
    with pytest.raises(DatabaseError, match="belongs to alder-bank, not to birch-bank"):
        async with opened(dsn, clock, place="birch-bank"):
            pass


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "8 characters or more"),
        ("x" * 257, "or fewer"),
        ("password123", "tried first"),
        ("PASSWORD123", "tried first"),
        ("aaaaaaaaaaaaaaaa", "tried first"),
        ("ada-brook", "little more than your name"),
        ("riverbank1", "little more than your name"),
    ],
)
def test_passwords_that_may_not_be(password: str, says: str, identity: Identity):
    """Too short, too common, or the person's own name; composed of what is nobody's business (ASVS 6.2)."""
    assert says in (identity.passwords.problem(password, ["ada", "brook", "riverbank"]) or "")


@pytest.mark.parametrize("password", ["correct horse", " spaces at both ends ", "ünïcödé wörds", "q" * 3 + "wertyuiopasdfghjklzxcvbnm" * 8])
async def test_passwords_are_taken_exactly_as_typed(password: str, identity: Identity):
    """Not trimmed, cut or folded."""
    hashed = await identity.passwords.hashed(password)

    assert identity.passwords.problem(password) is None
    assert await identity.passwords.matches(hashed, password)
    assert not await identity.passwords.matches(hashed, password.strip().lower()[:64] + "x")


@both
async def test_somebody_joins_and_logs_in(identity: Identity):
    """Invitation, password, app, code: a complete session; the invitation is spent."""
    token = await identity.invitations.make(Role.OFFICER, by="test")
    await identity.registration.by_invitation(token, email=" Ada@Alder.example", name="Ada Brook", password=PASSWORD)
    first = await identity.login.password("ada@alder.EXAMPLE", PASSWORD, VISITOR)
    enrolling = await identity.sessions.find(first.token, renews=False)

    assert first.level is Level.ENROL
    assert (enrolling.person.role, enrolling.person.has_code) == (Role.OFFICER, False)
    with pytest.raises(PeopleError, match="has been used"):
        await identity.registration.by_invitation(token, email="b@alder.example", name="B", password=PASSWORD)


@both
async def test_of_two_who_use_one_invitation_at_once_one_gets_in(identity: Identity):
    """The database decides."""
    token = await identity.invitations.make(Role.OFFICER, by="test")
    tries = [
        identity.registration.by_invitation(token, email=f"p{number}@alder.example", name="P", password=PASSWORD) for number in range(8)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(outcome is None for outcome in outcomes) == 1
    assert len(await identity.people.everybody()) == 1


async def test_an_invitation_for_an_address_is_for_no_other_and_expires(identity: Identity, clock: TestClock):
    """A refused try leaves it good; three days do not."""
    token = await identity.invitations.make(Role.OFFICER, by="test", email="ada@alder.example")
    with pytest.raises(PeopleError, match="another e-mail address"):
        await identity.registration.by_invitation(token, email="eve@alder.example", name="Eve", password=PASSWORD)
    still_good = await identity.invitations.find(token)
    clock.ms += 3 * 24 * 60 * MINUTE_MS

    assert still_good is not None
    assert await identity.invitations.find(token) is None


async def test_who_asked_waits_for_confirmation(identity: Identity):
    """The right password of an unconfirmed account is worth as much as a wrong one."""
    await identity.registration.by_request(email="new@alder.example", name="New", role=Role.OFFICER, password=PASSWORD, address="1")
    before = await identity.login.password("new@alder.example", PASSWORD, VISITOR)
    (person,) = await identity.people.everybody()
    await identity.people.govern(person.id, by="somebody else", status=Status.ACTIVE)
    after = await identity.login.password("new@alder.example", PASSWORD, VISITOR)

    assert (before.token, after.level) == (None, Level.ENROL)


async def test_asking_with_a_known_address_changes_nothing_and_looks_the_same(identity: Identity):
    """The same answer, after the same work."""
    email, _ = await somebody(identity, Role.OFFICER)
    known = (await identity.people.everybody())[0]
    work = []
    for address in (email, "unknown@alder.example"):
        before = identity.passwords.hashings
        answer = await identity.registration.by_request(email=address, name="X", role=Role.ML_ENGINEER, password=PASSWORD, address="1")
        work.append((answer, identity.passwords.hashings - before))

    assert work[0] == work[1] == (0, 1)
    assert await identity.people.find(known.id) == known


@both
async def test_an_unknown_address_costs_the_same_work_as_a_wrong_password(identity: Identity):
    """One hash each, and the same answer: nobody learns who works here (ASVS 6.3.8)."""
    email, _ = await somebody(identity, Role.OFFICER)
    disabled, _ = await somebody(identity, Role.OFFICER)
    person = next(person for person in await identity.people.everybody() if person.email == disabled)
    await identity.people.govern(person.id, by="somebody else", status=Status.DISABLED)
    seen = []
    for address, password in ((email, "wrong"), ("nobody@alder.example", "wrong"), (disabled, PASSWORD)):
        before = identity.passwords.hashings
        answer = await identity.login.password(address, password, VISITOR)
        seen.append((answer.token, answer.level, answer.wait_ms, identity.passwords.hashings - before))

    assert seen == [(None, None, 0, 1)] * 3


async def test_ten_thousand_wrong_passwords(identity: Identity, clock: TestClock):
    """At most ten reach the hash per account in any thirty minutes, from however many addresses, for known and unknown alike."""
    accounts = [(await somebody(identity, Role.OFFICER, code=False))[0], "nobody@alder.example"]
    reached: dict[str, list[int]] = {email: [] for email in accounts}
    for number in range(10_000):
        email = accounts[number % 2]
        before = identity.passwords.hashings
        await identity.login.password(email, f"wrong {number}", Visitor(f"10.0.{number % 250}.{number % 241}", "script"))
        if identity.passwords.hashings > before:
            reached[email].append(clock.ms)
        clock.ms += 700  # Two hours of simulated time.

    for times in reached.values():
        assert len(times) >= 20  # They were not locked for ever.
        assert max(sum(start <= at < start + ACCOUNT.window_ms for at in times) for start in times) <= 10


@both
async def test_a_hundred_wrong_passwords_at_once_are_a_hundred_tries(identity: Identity):
    """Those in flight count: no burst gets past the limit."""
    email, _ = await somebody(identity, Role.OFFICER, code=False)
    before = identity.passwords.hashings
    await asyncio.gather(*(identity.login.password(email, f"wrong {number}", VISITOR) for number in range(100)))

    assert identity.passwords.hashings - before <= 10


async def test_tries_are_forgiven_after_the_right_password(identity: Identity):
    """Three slips, then right, then three slips: nobody waits."""
    email, _ = await somebody(identity, Role.OFFICER, code=False)
    for _ in range(3):
        for _ in range(3):
            assert (await identity.login.password(email, "slip", VISITOR)).wait_ms == 0
        assert (await identity.login.password(email, PASSWORD, VISITOR)).token is not None


async def test_waits_grow_and_then_the_account_is_locked_for_half_an_hour(identity: Identity, clock: TestClock):
    """From the fourth wrong password on each wait is twice the one before; the right one is not taken meanwhile."""
    email, _ = await somebody(identity, Role.OFFICER, code=False)
    waits = []
    for number in range(10):
        assert (await identity.login.password(email, f"wrong {number}", VISITOR)).wait_ms == 0
        waits.append((await identity.login.password(email, PASSWORD, VISITOR)).wait_ms if number >= 3 else 0)
        clock.ms += waits[-1]
        if number < 9:
            continue
        clock.ms -= 1
        assert (await identity.login.password(email, PASSWORD, VISITOR)).wait_ms == 1
        clock.ms += 1

    assert waits == [0, 0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 30 * MINUTE_MS]
    assert (await identity.login.password(email, PASSWORD, VISITOR)).token is not None


@both
async def test_one_code_a_hundred_times_at_once_is_good_once(identity: Identity, clock: TestClock):
    """RFC 6238, 5.2: a code counts once, also among those that arrive together."""
    email, secret = await somebody(identity, Role.OFFICER)
    person = next(person for person in await identity.people.everybody() if person.email == email)
    code = totp.code_at(secret, clock.ms // totp.STEP_MS)

    async def use() -> bool:
        async with identity.database.write() as connection:
            return await identity.factors.accept(connection, person.id, code)

    assert sum(await asyncio.gather(*(use() for _ in range(100)))) == 1


async def test_a_code_near_in_time_counts_and_an_older_one_than_the_last_does_not(identity: Identity, clock: TestClock):
    """One step off is forgiven, two are not; going back never is."""
    email, secret = await somebody(identity, Role.OFFICER)
    step = clock.ms // totp.STEP_MS
    answers = []
    for off in (2, 1, 0, -2):
        clock.ms += MINUTE_MS // 60
        half = await identity.sessions.find((await identity.login.password(email, PASSWORD, VISITOR)).token, renews=False)
        answers.append((await identity.login.code(half, totp.code_at(secret, step + off), VISITOR)).token is not None)

    assert answers == [False, True, False, False]


async def test_after_five_wrong_codes_the_password_is_asked_for_again(identity: Identity):
    """And after ten within half an hour no code counts."""
    email, secret = await somebody(identity, Role.OFFICER)
    waits = []
    for _ in range(2):
        half = await identity.sessions.find((await identity.login.password(email, PASSWORD, VISITOR)).token, renews=False)
        waits += [(await identity.login.code(half, "000000", VISITOR)).wait_ms for _ in range(5)]
        assert await identity.sessions.find(half.token_hash, renews=False) is None
    half = await identity.sessions.find((await identity.login.password(email, PASSWORD, VISITOR)).token, renews=False)
    locked = await identity.login.code(half, totp.code_at(secret, 0), VISITOR)

    assert waits == [0] * 10
    assert locked.wait_ms == 30 * MINUTE_MS


@both
async def test_a_recovery_code_counts_once_and_for_its_owner_only(identity: Identity):
    """In place of the app, however it is typed."""
    email, _ = await somebody(identity, Role.OFFICER)
    other, _ = await somebody(identity, Role.OFFICER)
    person = next(person for person in await identity.people.everybody() if person.email == email)
    codes = await identity.factors.renew_codes(person)

    async def with_code(address: str, code: str) -> bool:
        half = await identity.sessions.find((await identity.login.password(address, PASSWORD, VISITOR)).token, renews=False)
        return (await identity.login.code(half, code, VISITOR)).token is not None

    assert not await with_code(other, codes[0])
    assert await with_code(email, codes[0].lower().replace("-", " "))
    assert not await with_code(email, codes[0])
    assert await identity.factors.codes_left(person) == 9


async def test_a_session_ends_when_nobody_is_there(identity: Identity, clock: TestClock):
    """15 minutes without a person's doing; what a page asks by itself does not count (PCI DSS 8.2.8)."""
    token = await signed_in(identity, Role.OFFICER)
    clock.ms += IDLE_MS - 1000
    person_did = await identity.sessions.find(token, renews=True)
    clock.ms += IDLE_MS - 1000
    page_asked = await identity.sessions.find(token, renews=False)
    clock.ms += 2000

    assert person_did is not None
    assert page_asked is not None
    assert await identity.sessions.find(token, renews=True) is None


async def test_a_session_ends_after_twelve_hours_whatever_happens(identity: Identity, clock: TestClock):
    """However busy its person is."""
    token = await signed_in(identity, Role.OFFICER)
    for _ in range(ABSOLUTE_MS // (10 * MINUTE_MS) - 1):
        clock.ms += 10 * MINUTE_MS
        assert await identity.sessions.find(token, renews=True) is not None
    clock.ms += 10 * MINUTE_MS

    assert await identity.sessions.find(token, renews=True) is None


@pytest.mark.parametrize("change", ["disable", "role", "log-out", "all", "password", "app", "reset app", "new password"])
async def test_sessions_are_dead_at_once(identity: Identity, clock: TestClock, change: str):
    """With the change that ends them, for every process that has the database open."""
    email, secret = await somebody(identity, Role.OFFICER)
    token = await log_in(identity, email, secret)
    clock.ms += MINUTE_MS
    acting = await log_in(identity, email, secret)
    session = await identity.sessions.find(acting, renews=False)
    person = session.person
    renewed = None
    match change:
        case "disable":
            await identity.people.govern(person.id, by="another", status=Status.DISABLED)
        case "role":
            await identity.people.govern(person.id, by="another", role=Role.ML_ENGINEER)
        case "log-out":
            for each in await identity.sessions.of(person):
                await identity.sessions.end(person.id, each.id)
        case "all":
            await identity.sessions.end_all(person.id)
        case "password":
            renewed = await identity.factors.change_password(session, "nine purple kettles sing")
        case "app":
            fresh = os.urandom(totp.SECRET_BYTES)
            renewed, _ = await identity.factors.adopt(session, fresh, totp.code_at(fresh, clock.ms // totp.STEP_MS))
        case "reset app":
            await identity.factors.reset(person.id)
        case "new password":
            link = await identity.invitations.make(person.role, by="test", person_id=person.id)
            await identity.registration.new_password(link, "nine purple kettles sing")

    assert await identity.sessions.find(token, renews=False) is None
    assert await identity.sessions.find(acting, renews=False) is None
    assert (renewed is None) or await identity.sessions.find(renewed, renews=False) is not None


async def test_a_new_password_by_link_does_not_go_around_the_app(identity: Identity):
    """ASVS 6.4.3."""
    email, _ = await somebody(identity, Role.OFFICER)
    person = next(person for person in await identity.people.everybody() if person.email == email)
    link = await identity.invitations.make(person.role, by="test", person_id=person.id)
    await identity.registration.new_password(link, "nine purple kettles sing")

    assert (await identity.login.password(email, PASSWORD, VISITOR)).token is None
    assert (await identity.login.password(email, "nine purple kettles sing", VISITOR)).level is Level.HALF
    with pytest.raises(PeopleError, match="has been used"):
        await identity.registration.new_password(link, "eight yellow lamps hum")


async def test_nobody_gives_themselves_a_role(identity: Identity):
    """Nor access: there is always another one who did."""
    await somebody(identity, Role.ADMINISTRATOR)
    (person,) = await identity.people.everybody()
    for change in ({"role": Role.OFFICER}, {"status": Status.DISABLED}):
        with pytest.raises(PeopleError, match="Nobody changes their own"):
            await identity.people.govern(person.id, by=person.id, **change)


async def test_a_revoked_key_is_dead_within_a_second(identity: Identity, clock: TestClock, dsn: str):
    """Also for another process, which remembers keys for half a second."""
    async with opened(dsn, clock) as other:
        key_id, key = await identity.keys.make("till", [Scope.FEEDBACK_WRITE], by="test")
        known = await other.keys.find(key)
        await identity.keys.revoke(key_id)
        here = await identity.keys.find(key)
        clock.ms += 1000

        assert known.scopes == {Scope.FEEDBACK_WRITE}
        assert here is None
        assert await other.keys.find(key) is None


async def test_a_copy_of_the_database_opens_nothing(tmp_path: Path):
    """No password, token, key, recovery code or app secret stands in it."""
    async with people(tmp_path) as identity:
        email, secret = await somebody(identity, Role.OFFICER)
        token = await log_in(identity, email, secret)
        session = await identity.sessions.find(token, renews=False)
        codes = await identity.factors.renew_codes(session.person)
        _, key = await identity.keys.make("till", [Scope.FEEDBACK_WRITE], by="test")
        link = await identity.invitations.make(Role.OFFICER, by="test")
        await identity.people.save_profile(session.person.id, Profile("Ada", "", "", "UTC", ()))
        files = await asyncio.to_thread(lambda: b"".join(path.read_bytes() for path in tmp_path.glob("alder-bank.sqlite3*")))

    assert email.encode() in files
    for shown in (PASSWORD, token, key, link, totp.base32(secret), *codes, *(code.replace("-", "") for code in codes)):
        assert shown.encode() not in files
    assert secret not in files
