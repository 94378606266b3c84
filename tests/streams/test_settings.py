"""Settings are read whole or refused whole, one sentence per wrong field."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from federation.messages import HeadName
from streams.settings import (
    PROCESSES,
    USUAL_HEADS,
    AggregatorProcess,
    AuditProcess,
    FeedProcess,
    HeadSettings,
    InstitutionProcess,
    SettingsError,
    TopicsProcess,
    WebProcess,
    load_settings,
    read_private_file,
)

FEDERATION = f'[federation]\nname = "north"\nbootstrap = "127.0.0.1:9092,localhost:9093"\nca_verify_key = "{"a1" * 32}"\n'
PARTY = '[party]\nname = "bank-a"\nkey_file = "/keys/bank-a"\n'
INSTITUTION = '[institution]\nbootstrap = "127.0.0.1:9094"\nstate_dir = "/state"\n'
AGGREGATOR = '[aggregator]\nstate_dir = "/state"\n'
AUDIT = '[audit]\ndsn = "chdb:///audit"\nledger_dir = "/ledger"\n'
WEB = '[web]\nstate_dir = "/state"\n'


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RIVERBANK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path):
    def loaded(process, *sections: str):
        path = tmp_path / "settings.toml"
        path.write_text("".join(sections))
        return load_settings(path, process)

    return loaded


@pytest.fixture
def problems(load):
    def found(process, *sections: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(process, *sections)
        return caught.value.problems

    return found


def test_the_least_a_process_must_be_told(load):
    """Everything else has a default; a path stays as it was written."""
    institution = load(InstitutionProcess, FEDERATION, PARTY, INSTITUTION)
    aggregator = load(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR)

    assert institution.institution.heads == tuple(HeadName)
    assert institution.party.key_file == Path("/keys/bank-a")
    assert aggregator.aggregator.heads == USUAL_HEADS
    assert load(AuditProcess, FEDERATION, AUDIT).audit.dsn == "chdb:///audit"
    assert load(WebProcess, FEDERATION, WEB).web.institution is None


def test_the_environment_goes_over_the_file(load, monkeypatch: pytest.MonkeyPatch):
    """A number, a list, a field of a nested table; the rest of the section stays."""
    monkeypatch.setenv("RIVERBANK_INSTITUTION__HEADS", '["fraud"]')
    monkeypatch.setenv("RIVERBANK_AGGREGATOR__ROUND_MS", "250")
    monkeypatch.setenv("RIVERBANK_AGGREGATOR__HEADS__FRAUD__CLIP_NORM", "0.5")
    monkeypatch.setenv("RIVERBANK_WEB__PORT", "1")  # Another process's; no concern of this one.

    aggregator = load(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR, "[aggregator.heads.fraud]\ncustomers_min = 1\n").aggregator

    assert (aggregator.round_ms, aggregator.state_dir) == (250, Path("/state"))
    assert load(InstitutionProcess, FEDERATION, PARTY, INSTITUTION).institution.heads == (HeadName.FRAUD,)
    assert aggregator.heads == {HeadName.FRAUD: HeadSettings(clip_norm=0.5)}


def test_settings_do_not_change(load):
    """Frozen all the way down."""
    settings = load(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR)

    for change in (
        "settings.ops = settings.ops",
        "settings.aggregator.round_ms = 1",
        "settings.aggregator.heads[HeadName.FRAUD].clip_norm = 2",
    ):
        with pytest.raises(ValidationError, match="frozen"):
            exec(change, {"settings": settings, "HeadName": HeadName})  # noqa: S102 Three statements, one promise.


def test_each_wrong_field_has_its_sentence(problems):
    """Which key, what is wrong, what is allowed."""
    wrong = '[institution]\nbootstrap = "own"\npoll_records_max = 0\nsnapshot = 5\nheads = ["credit", "mortgage"]\nlearning_rates = { fraud = nan }\n'

    found = problems(InstitutionProcess, FEDERATION, PARTY.replace("bank-a", "Bank A", 1), wrong)

    assert [sentence.partition(":")[0] for sentence in found] == [
        "party.name",
        "institution.bootstrap",
        "institution.state_dir",
        "institution.heads.1",
        "institution.learning_rates.fraud",
        "institution.poll_records_max",
        "institution.snapshot",
    ]
    assert found[2] == "institution.state_dir: missing"
    assert found[3] == "institution.heads.1: input should be 'credit', 'fraud' or 'products'"
    assert found[5] == "institution.poll_records_max: input should be greater than or equal to 1"
    assert found[6].startswith("institution.snapshot: unknown; known here are bootstrap, ")


def test_unknown_sections_and_variables_are_refused(problems, monkeypatch: pytest.MonkeyPatch):
    """A misspelled name must not leave a default in place unnoticed."""
    monkeypatch.setenv("RIVERBANK_AUDTI__FLUSH_MS", "1")
    monkeypatch.setenv("RIVERBANK_AUDIT__FLUSH", "1")
    monkeypatch.setenv("RIVERBANK_CACHE", "/elsewhere")  # Not of this kind: no section.

    found = problems(AuditProcess, FEDERATION, AUDIT, WEB)

    assert found[0] == (
        "RIVERBANK_AUDTI__FLUSH_MS: there is no section audti, only aggregator, audit, cluster, federation, feed, institution, ops, party, purposes, vertical, web"
    )
    known = "batch_records, bootstrap, checkpoint_ms, dsn, flush_ms, institution, ledger_dir, password_file, tls"
    assert found[1] == f"audit.flush: unknown; known here are {known}"
    assert found[2] == "web: unknown; known here are audit, federation, ops, party"


def test_a_stray_variable_alone_is_enough(problems, monkeypatch: pytest.MonkeyPatch):
    """Though everything else is right."""
    monkeypatch.setenv("RIVERBANK_AUDTI__FLUSH_MS", "1")

    assert len(problems(AuditProcess, FEDERATION, AUDIT)) == 1


def test_a_list_in_the_environment_is_json(problems, monkeypatch: pytest.MonkeyPatch):
    """And the sentence says so."""
    monkeypatch.setenv("RIVERBANK_INSTITUTION__HEADS", "credit,fraud")

    assert problems(InstitutionProcess, FEDERATION, PARTY, INSTITUTION)[-1].endswith("a list is written as JSON")


def test_noise_is_on_unless_said_otherwise(load):
    """A head of which nothing is said about noise keeps an epsilon of 8, and an institution takes part in none that costs more."""
    institution = load(
        InstitutionProcess, FEDERATION, PARTY, INSTITUTION, '[institution.privacy.fraud]\nepsilon_max = "unlimited"\n'
    ).institution

    assert (HeadSettings().epsilon, HeadSettings().noise_multiplier) == (8.0, None)
    assert institution.privacy_of(HeadName.CREDIT).epsilon == 8.0
    assert institution.privacy_of(HeadName.FRAUD).epsilon == math.inf


@pytest.mark.parametrize(
    ("addition", "sentence"),
    [
        (
            "round_ms = 86400000\n",
            "aggregator: epoch_rounds * round_ms must be at most 15 days: a restart reads the log from the epoch's beginning",
        ),
        ("survivors_min = 2\n", "aggregator.survivors_min: input should be greater than or equal to 3"),
        ("epoch_rounds = 65\n", "aggregator.epoch_rounds: input should be less than or equal to 64"),
        ("round_ms = 0\n", "aggregator.round_ms: input should be greater than or equal to 1"),
        (
            "[aggregator.heads.fraud]\nepsilon = 2.0\nnoise_multiplier = 2.0\n",
            "aggregator.heads.fraud: epsilon and noise_multiplier both say how much noise: keep one",
        ),
        ("[aggregator.heads.fraud]\nclip_quanta = 3\n", "aggregator.heads.fraud.clip_quanta: input should be greater than or equal to 4"),
        (
            "[aggregator.heads.fraud]\ncustomers_min = 0\n",
            "aggregator.heads.fraud.customers_min: input should be greater than or equal to 1",
        ),
        (
            "[aggregator.heads.frau]\n",
            "aggregator.heads.frau: input should be 'credit', 'fraud' or 'products'",
        ),
    ],
)
def test_what_the_protocol_does_not_allow(problems, addition: str, sentence: str):
    """Bounds of federation/limits.py are checked before a process starts, not in its first round."""
    assert problems(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR, addition) == [sentence]


@pytest.mark.parametrize(
    ("addition", "members", "problem"),
    [
        ("", 2, "2 members; rounds need 3"),
        ("survivors_min = 5\n", 4, "4 members, and aggregator.survivors_min is 5"),
        ("", 3, None),
        ("survivors_min = 5\n", 5, None),
        ("[aggregator.heads.credit]\ngroups = 3\n", 8, "8 members are enough for 2 groups of 3; 3 are needed"),
        ("[aggregator.heads.credit]\ngroups = 3\n", 9, None),
    ],
)
def test_what_so_many_members_cannot_do(load, addition: str, members: int, problem: str | None):
    """Who is a member changes while the aggregator runs: it asks each time."""
    assert load(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR, addition).aggregator.members_problem(HeadName.CREDIT, members) == problem


def test_a_portal_has_an_institution_and_its_cluster(problems):
    """One without the other is a mistake."""
    found = problems(WebProcess, FEDERATION, WEB, 'institution = "bank-a"\n')

    assert found == ["web: institution and bootstrap belong together: a process of an institution has both, the console neither"]


def test_a_password_is_not_a_setting(problems, load):
    """Nor is it repeated in the sentence; a user's name alone is fine."""
    found = problems(AuditProcess, FEDERATION, '[audit]\ndsn = "clickhouse://writer:hunter2@db:9000/audit"\nledger_dir = "/ledger"\n')

    assert found == ["audit.dsn: must not contain a password: name a file for it"]
    assert (
        load(AuditProcess, FEDERATION, '[audit]\ndsn = "clickhouse://writer@db:9000/audit"\nledger_dir = "/ledger"\n').audit.password_file
        is None
    )


@pytest.mark.parametrize("key", ["a1" * 31, "A1" * 32, "zz" * 32])
def test_the_cas_key_is_hexadecimal(problems, key: str):
    """Of 32 bytes."""
    found = problems(AuditProcess, FEDERATION.replace("a1" * 32, key), AUDIT)

    assert found == ["federation.ca_verify_key: must be 64 lower-case hexadecimal digits"]


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path, problems):
    """One sentence with its path."""
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "absent.toml", AuditProcess)
    assert len(problems(AuditProcess, "[federation\n")) == 1


@pytest.mark.parametrize(
    "bootstrap", ["kafka.example:9092", "127.0.0.1:9092,10.0.0.7:9092", "localhost.example:9092", "127.0.0.1.example:1"]
)
def test_plain_text_never_leaves_this_machine(problems, bootstrap: str):
    """Towards another machine, every cluster needs certificates: the federation's, an institution's own, a portal's, a source's, an operator's."""
    sentence = f"tls is missing: {bootstrap} is another machine, and plain text is spoken with this one only"
    federation = FEDERATION.replace("127.0.0.1:9092,localhost:9093", bootstrap)
    portal = f'[web]\nstate_dir = "/state"\ninstitution = "bank-a"\nbootstrap = "{bootstrap}"\n'

    assert problems(AuditProcess, federation, AUDIT) == [f"federation: {sentence}"]
    assert problems(InstitutionProcess, FEDERATION, PARTY, INSTITUTION.replace("127.0.0.1:9094", bootstrap)) == [f"institution: {sentence}"]
    assert problems(WebProcess, FEDERATION, portal) == [f"web: {sentence}"]
    assert problems(FeedProcess, f'[feed.sources.bank-a]\nbootstrap = "{bootstrap}"\n') == [f"feed.sources.bank-a: {sentence}"]
    assert problems(TopicsProcess, f'[cluster]\nbootstrap = "{bootstrap}"\nfederation = "north"\n') == [f"cluster: {sentence}"]


def test_certificates_come_with_authority_and_key(load, problems):
    """All three files or none; the key's password may be absent."""
    tls = '[federation.tls]\nca_file = "/tls/ca.crt"\ncert_file = "/tls/kafka.crt"\n'
    elsewhere = FEDERATION.replace("127.0.0.1:9092,localhost:9093", "kafka.example:9092")

    assert problems(AuditProcess, elsewhere, tls, AUDIT) == ["federation.tls.key_file: missing"]
    assert load(AuditProcess, elsewhere, tls, 'key_file = "/tls/kafka.key"\n', AUDIT).federation.tls.password_file is None


def test_a_cluster_is_somebodys(problems):
    """A federation with its members, or institutions; not nobody's, and no members of nothing."""
    cluster = '[cluster]\nbootstrap = "127.0.0.1:9092"\n'

    assert problems(TopicsProcess, cluster) == ["cluster: name a federation, or institutions whose own topics lie here"]
    assert problems(TopicsProcess, cluster, 'institutions = ["bank-a"]\nmembers = ["bank-a"]\n') == [
        "cluster: members belong to a federation: name it"
    ]


def test_every_setting_says_what_it_is():
    """The docs page is drawn from these sentences."""
    for process in PROCESSES:
        for name, section in process.model_fields.items():
            kinds = (section.annotation, *get_args(section.annotation))  # A section may be absent.
            kind = next(each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel))
            assert kind.__doc__, name
            for field_name, field in kind.model_fields.items():
                assert field.description, f"{name}.{field_name}"


def test_a_private_file_is_private(tmp_path: Path):
    """Readable by its owner only, or not read at all."""
    path = tmp_path / "keys"
    path.write_bytes(b"secret")

    path.chmod(0o600)
    assert read_private_file(path) == b"secret"
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(SettingsError, match=rf"others may read it \(mode {mode:04o}\); run chmod 600"):
            read_private_file(path)
    with pytest.raises(SettingsError, match="absent: No such file"):
        read_private_file(tmp_path / "absent")


@pytest.mark.parametrize(
    ("head", "needed"),
    [
        ("groups = 3", 3),
        ('groups = 3\ngroup_rule = "mean"', 1),
        ('groups = 3\ngroup_rule = "mean"\ngroups_min = 2', 2),
        ('groups = 3\ngroup_rule = "trimmed_mean"\ntrim = 1', 3),
    ],
)
def test_a_head_in_groups(load, head: str, needed: int):
    """Groups, the rule over their means, and how many of them make a model."""
    settings = load(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR, f"[aggregator.heads.credit]\n{head}\n").aggregator.heads[
        HeadName.CREDIT
    ]

    assert settings.groups == 3
    assert settings.groups_needed == needed


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("groups = 2", "median needs 3 groups"),
        ("groups = 3\ntrim = 1", "trim belongs to group_rule trimmed_mean"),
        ('groups = 3\ngroup_rule = "trimmed_mean"', "trim belongs to group_rule trimmed_mean"),
        ('groups = 3\ngroup_rule = "trimmed_mean"\ntrim = 2', "trimmed_mean needs 5 groups"),
        ("groups = 3\ngroups_min = 4", "median needs 4 groups"),
        ('groups = 3\ngroup_rule = "average"', "should be 'mean', 'median' or 'trimmed_mean'"),
    ],
)
def test_groups_that_could_make_no_model_are_refused(problems, head: str, sentence: str):
    """A rule with too few groups, or that does not exist."""
    assert sentence in problems(AggregatorProcess, FEDERATION, PARTY, AGGREGATOR, f"[aggregator.heads.credit]\n{head}\n")[0]


def test_an_institution_says_how_few_are_too_few(load):
    """Its own least number of members, of a group too."""
    assert load(InstitutionProcess, FEDERATION, PARTY, INSTITUTION).institution.members_min == 3
    assert load(InstitutionProcess, FEDERATION, PARTY, INSTITUTION + "members_min = 5\n").institution.members_min == 5
