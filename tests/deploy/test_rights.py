"""Who may do what in the bucket, as IAM decides it by the policies of the SAM template."""

from __future__ import annotations

from typing import Any

import pytest

from support.cloudformation import ACCOUNT, REGION, resolve
from support.rights import EVERYTHING_ALLOWED, Rights
from support.sam import (
    CRL_WRITER,
    EVENT_SOURCES,
    EVERYTHING,
    ON_CALL,
    PRIVATE_CA,
    SECURITY,
    parameters_of,
)

PREFIXES = ("crl", "issuers", "truststore", "published")
WRITES = (
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObjectAcl",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
    "s3:UpdateObjectEncryption",
)
"""Each changes an object, or how it can be read."""


@pytest.fixture(params=EVENT_SOURCES)
def rights(request: pytest.FixtureRequest, translated: dict[str, Any]) -> Rights:
    """The rights in a stack in which every list of principals has one."""
    return Rights(resolve(translated, **parameters_of(request.param, "http", everything=True)))


def writable(rights: Rights, principal: str, identity: dict[str, Any] | None) -> set[str]:
    """The prefixes in which a principal may do any kind of write."""
    questions = [(prefix, action) for prefix in PREFIXES for action in WRITES]
    for prefix, action in questions:
        rights.ask(principal, action, f"{prefix}/x", identity)
    answers = rights.answers()
    return {prefix for (prefix, _), yes in zip(questions, answers, strict=True) if yes}


def test_the_authorizer_writes_nothing(rights: Rights) -> None:
    """
    And reads what is published, and nothing else.
    """
    for prefix in PREFIXES:
        for action in WRITES:
            rights.ask_for_role("AuthorizerRole", action, f"{prefix}/x")
    assert not any(rights.answers())
    for prefix in PREFIXES:
        rights.ask_for_role("AuthorizerRole", "s3:GetObject", f"{prefix}/x")
    assert rights.answers() == [prefix == "published" for prefix in PREFIXES]
    rights.ask_for_role("AuthorizerRole", "s3:ListBucket", None)
    rights.ask_for_role("AuthorizerRole", "s3:PutBucketPolicy", None)
    assert rights.answers() == [True, False]


def test_the_preprocessor_writes_what_it_publishes_only(rights: Rights) -> None:
    """
    It can change neither the CRLs nor whom it trusts, and destroys no earlier version.
    """
    for prefix in PREFIXES:
        for action in WRITES:
            rights.ask_for_role("PreprocessorRole", action, f"{prefix}/x")
    allowed = [
        (prefix, action)
        for (prefix, action), yes in zip(
            [(prefix, action) for prefix in PREFIXES for action in WRITES],
            rights.answers(),
            strict=True,
        )
        if yes
    ]
    assert allowed == [("published", "s3:PutObject"), ("published", "s3:DeleteObject")]
    for prefix in PREFIXES:
        rights.ask_for_role("PreprocessorRole", "s3:GetObject", f"{prefix}/x")
    assert rights.answers() == [prefix != "truststore" for prefix in PREFIXES]


def test_an_administrator_who_is_not_named_publishes_nothing(rights: Rights) -> None:
    """
    Nor decides whom to trust, whatever rights he has.
    """
    admin = f"arn:aws:iam::{ACCOUNT}:role/admin"
    assert writable(rights, admin, EVERYTHING_ALLOWED) == {"crl"}
    assert writable(rights, f"arn:aws:iam::{ACCOUNT}:user/admin", EVERYTHING_ALLOWED) == {"crl"}


def test_each_list_of_principals_is_worth_one_prefix(rights: Rights) -> None:
    """
    Those who may write issuers may write the trust store too; both say whom to trust.
    """
    assert writable(rights, ON_CALL, EVERYTHING_ALLOWED) == {"crl", "published"}
    assert writable(rights, SECURITY, EVERYTHING_ALLOWED) == {"crl", "issuers", "truststore"}


def test_a_writer_of_crls_puts_them_and_does_nothing_else(rights: Rights) -> None:
    """
    In another account, whatever that account allows it.
    """
    questions = [(prefix, action) for prefix in PREFIXES for action in (*WRITES, "s3:GetObject")]
    for prefix, action in questions:
        rights.ask(CRL_WRITER, action, f"{prefix}/x", EVERYTHING_ALLOWED)
    answers = zip(questions, rights.answers(), strict=True)
    assert [question for question, yes in answers if yes] == [("crl", "s3:PutObject")]
    rights.ask("arn:aws:iam::444455556666:role/other", "s3:PutObject", "crl/x", EVERYTHING_ALLOWED)
    rights.ask("arn:aws:iam::444455556666:role/other", "s3:GetObject", "crl/x", EVERYTHING_ALLOWED)
    assert rights.answers() == [False, False]


def test_a_private_ca_writes_crls_only(rights: Rights) -> None:
    """
    That CA alone, and not one that another customer of AWS lets write here.
    """
    other = PRIVATE_CA.replace(ACCOUNT, "444455556666")
    questions = [
        (key, ca)
        for ca in (PRIVATE_CA, other)
        for key in (*(f"{prefix}/ca.crl" for prefix in PREFIXES), "acm-pca-permission-test-key")
    ]
    for key, ca in questions:
        rights.ask("acm-pca.amazonaws.com", "s3:PutObject", key, None, aws_SourceArn=ca)
    answers = zip(questions, rights.answers(), strict=True)
    assert [question for question, yes in answers if yes] == [
        ("crl/ca.crl", PRIVATE_CA),
        ("acm-pca-permission-test-key", PRIVATE_CA),
    ]
    # All that it asks for when a CRL is configured, of the bucket too.
    looks = [
        (action, key_or_none, ca)
        for ca in (PRIVATE_CA, other)
        for action, key_or_none in (
            ("s3:PutObjectAcl", "crl/ca.crl"),
            ("s3:PutObjectAcl", "acm-pca-permission-test-key-private"),
            ("s3:GetBucketAcl", None),
            ("s3:GetBucketLocation", None),
        )
    ]
    for action, key_or_none, ca in looks:
        rights.ask("acm-pca.amazonaws.com", action, key_or_none, None, aws_SourceArn=ca)
    assert rights.answers() == [ca == PRIVATE_CA for _, _, ca in looks]


def test_without_tls_nobody_does_anything(rights: Rights) -> None:
    """
    Not even who is named.
    """
    for principal in (SECURITY, ON_CALL, CRL_WRITER):
        for action in ("s3:GetObject", "s3:PutObject"):
            rights.ask(principal, action, "crl/x", EVERYTHING_ALLOWED, aws_SecureTransport="false")
    assert not any(rights.answers())


def test_empty_lists_let_nobody_in(translated: dict[str, Any]) -> None:
    """
    Not everybody: then the preprocessor alone publishes, and nobody decides whom to trust.
    """
    rights = Rights(resolve(translated))
    assert writable(rights, SECURITY, EVERYTHING_ALLOWED) == {"crl"}
    assert writable(rights, ON_CALL, EVERYTHING_ALLOWED) == {"crl"}
    assert writable(rights, CRL_WRITER, EVERYTHING_ALLOWED) == set()
    rights.ask_for_role("PreprocessorRole", "s3:PutObject", "published/x")
    assert rights.answers() == [True]


def test_the_roles_use_the_bucket_s_key_through_s3_only(rights: Rights) -> None:
    """
    The authorizer, which writes nothing, makes no data keys.
    """
    key = EVERYTHING["KmsKeyArn"]
    through = {"s3": f"s3.{REGION}.amazonaws.com", "other": f"dynamodb.{REGION}.amazonaws.com"}
    questions = [
        (role, action, service)
        for role in ("AuthorizerRole", "PreprocessorRole")
        for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:ScheduleKeyDeletion")
        for service in through
    ]
    for role, action, service in questions:
        rights.ask_role_about(role, action, key, kms_ViaService=through[service])
    answers = zip(questions, rights.answers(), strict=True)
    assert [question for question, yes in answers if yes] == [
        ("AuthorizerRole", "kms:Decrypt", "s3"),
        ("PreprocessorRole", "kms:Decrypt", "s3"),
        ("PreprocessorRole", "kms:GenerateDataKey", "s3"),
    ]


def test_the_preprocessor_asks_the_private_cas_that_are_named(rights: Rights) -> None:
    """
    For their certificates, and for nothing else.
    """
    action = "acm-pca:GetCertificateAuthorityCertificate"
    for role, what, ca in (
        ("PreprocessorRole", action, PRIVATE_CA),
        ("PreprocessorRole", action, PRIVATE_CA.replace("1111-", "1112-", 1)),
        ("PreprocessorRole", "acm-pca:IssueCertificate", PRIVATE_CA),
        ("AuthorizerRole", action, PRIVATE_CA),
    ):
        rights.ask_role_about(role, what, ca)
    assert rights.answers() == [True, False, False, False]


def test_the_rule_of_uploads_alone_sends_to_the_queue(translated: dict[str, Any]) -> None:
    """
    And the preprocessor alone takes from it.
    """
    stack = resolve(translated, EventSource="sqs")
    rights = Rights(stack)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:crlcheck-events"
    policy = stack["EventQueuePolicy"]["PolicyDocument"]
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/crlcheck-uploads"
    for source in (rule, rule.replace("uploads", "others"), rule.replace(ACCOUNT, "444455556666")):
        rights.ask_about(
            queue, policy, "events.amazonaws.com", "sqs:SendMessage", None, aws_SourceArn=source
        )
    assert rights.answers() == [True, False, False]
    for role in ("PreprocessorRole", "AuthorizerRole"):
        for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SendMessage"):
            rights.ask_role_about(role, action, queue)
    assert rights.answers() == [True, True, False, False, False, False]


def test_failures_are_reported_to_their_queue(rights: Rights) -> None:
    """
    By the preprocessor, which cannot read what is in it.
    """
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:crlcheck-failures"
    for role in ("PreprocessorRole", "AuthorizerRole"):
        for action in ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:PurgeQueue"):
            rights.ask_role_about(role, action, queue)
    assert rights.answers() == [True, False, False, False, False, False]
