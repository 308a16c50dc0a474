"""The template of deploy/sam, read as a file: what it says and what the functions take."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import StaleRule
from crlcheck.demo.pki import sign_crl
from crlcheck.settings import read_settings
from lambda_authorizer.settings import Mode
from lambda_authorizer.settings import Settings as AuthorizerSettings
from preprocessor.settings import Settings as PreprocessorSettings
from support.authorizer import load
from support.cloudformation import ACCOUNT, RefusedParametersError, Stack, resolve
from support.documents import document
from support.events import authorizer_event
from support.example_pki import example_pki
from support.metrics import Series, series_of, series_of_alarm
from support.moto_server import S3Environment
from support.pipeline import Pipeline
from support.pki import delta_of
from support.sam import EVERYTHING, FORMS, OF_API, PRIVATE_CA, SAM, SECURITY, sam_template

ROOT = Path(__file__).parents[2]
PKI = example_pki()
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/security/somebody"
FORM = pytest.mark.parametrize(
    "parameters", [given for _, given in FORMS], ids=[name for name, _ in FORMS]
)


def stack(**parameters: str) -> Stack:
    """What the template makes of parameters."""
    return resolve(sam_template(), **parameters)


def environment_of(made: Stack, function: str) -> dict[str, str]:
    """The environment variables of a function, as Lambda has them."""
    return {k: str(v) for k, v in made[function]["Environment"]["Variables"].items()}


@FORM
def test_every_form_refers_only_to_what_it_makes(parameters: dict[str, str]) -> None:
    """
    No condition leaves a reference to a resource out, and the dashboard is JSON.
    """
    made = stack(**parameters)
    assert json.loads(made["Dashboard"]["DashboardBody"])["widgets"]
    has_api = parameters["ApiKind"] != "none"
    assert ("ApiUrl" in made.outputs) == ("ApiDnsTarget" in made.outputs) == has_api


@FORM
def test_the_functions_take_their_settings(parameters: dict[str, str]) -> None:
    """
    Each variable is one that the function has, with a value that it accepts, and says what
    the parameter does.
    """
    made = stack(**parameters)
    authorizer = read_settings(AuthorizerSettings, environment_of(made, "AuthorizerFunction"))
    preprocessor = read_settings(PreprocessorSettings, environment_of(made, "PreprocessorFunction"))
    bucket = made["Bucket"]["BucketName"]
    assert authorizer.store == preprocessor.store == f"s3://{bucket}/published"
    assert preprocessor.issuers == f"s3://{bucket}/issuers"
    assert preprocessor.crl_prefix == "crl/"
    assert authorizer.mode is Mode.OBSERVE
    assert authorizer.max_catalog_age == timedelta(hours=12)
    # Two of the largest images are in memory while one is replaced, beside some 80 MB.
    memory = made["AuthorizerFunction"]["MemorySize"] << 20
    assert 2 * authorizer.image_memory + (80 << 20) < memory
    if "PrivateCaArns" in parameters:
        assert preprocessor.private_cas == (PRIVATE_CA,)
        assert len(preprocessor.fetch_urls) == 2
        assert (authorizer.stale, authorizer.stale_grace) == (StaleRule.GRACE, timedelta(days=1))
    else:
        assert (preprocessor.private_cas, preprocessor.fetch_urls) == ((), ())
        assert authorizer.stale is StaleRule.DENY


def test_enforcing_is_a_parameter() -> None:
    """
    So are how often and for how long the catalog is used.
    """
    made = stack(Mode="enforce", RefreshSeconds="30", MaxCatalogAgeHours="6")
    settings = read_settings(AuthorizerSettings, environment_of(made, "AuthorizerFunction"))
    assert settings.mode is Mode.ENFORCE
    assert (settings.refresh_seconds, settings.max_catalog_age) == (30, timedelta(hours=6))


def test_only_public_addresses_are_fetched_from_unless_told() -> None:
    """
    At the times of the parameter.
    """
    for given, is_private in (({}, False), ({"FetchPrivate": "true"}, True)):
        made = stack(FetchUrls=EVERYTHING["FetchUrls"], FetchSchedule="rate(2 hours)", **given)
        settings = read_settings(PreprocessorSettings, environment_of(made, "PreprocessorFunction"))
        assert settings.fetch_private is is_private
        assert made["FetchRule"]["ScheduleExpression"] == "rate(2 hours)"


OTHER_VALUES = {
    **{name: f"{value}x" for name, value in (EVERYTHING | OF_API).items()},
    "ApiKind": "rest",
    "Architecture": "x86_64",
    "EventSource": "s3",
    "ExpiryAlarmHours": "25",
    "FetchPrivate": "true",
    "FetchSchedule": "rate(2 hours)",
    "LogRetentionDays": "30",
    "MaxCatalogAgeHours": "13",
    "Mode": "enforce",
    "NamePrefix": "other",
    "PublicationAlarmHours": "25",
    "RefreshSeconds": "1",
    "ReservedConcurrency": "5",
    "StaleGrace": "25h",
}


@pytest.mark.parametrize("name", sam_template()["Parameters"])
def test_each_parameter_changes_what_is_made(name: str) -> None:
    """
    None is there without an effect.
    """
    given = {"ApiKind": "http", **EVERYTHING, **OF_API}
    assert stack(**given) != stack(**{**given, name: OTHER_VALUES[name]})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ApiKind": "http"}, "DomainName must be set"),
        ({"ApiKind": "rest", **OF_API, "TruststoreVersion": ""}, "TruststoreVersion must be set"),
        ({"ApiKind": "http", **OF_API, "CertificateArn": ""}, "CertificateArn must be set"),
        ({"EventSource": "sqs", "ReservedConcurrency": "1"}, "ReservedConcurrency must not be 1"),
        ({"NamePrefix": "Crlcheck"}, "NamePrefix"),
        ({"NamePrefix": "c" * 21}, "NamePrefix"),
        ({"Mode": "off"}, "Mode"),
        # The policy compares the ARN of the role, so whoever is named so could not write.
        ({"IssuersWriterArns": f"{SECURITY},{SESSION}"}, "IssuersWriterArns"),
        ({"BreakGlassRoleArns": SESSION}, "BreakGlassRoleArns"),
        ({"StaleGrace": "1 day"}, "StaleGrace"),
        ({"PublicationAlarmHours": "169"}, "PublicationAlarmHours"),
    ],
)
def test_parameters_that_cannot_work_are_refused(parameters: dict[str, str], reason: str) -> None:
    """
    Before anything is made.
    """
    with pytest.raises(RefusedParametersError, match=reason):
        stack(**parameters)


def test_no_concurrency_is_reserved_where_an_account_has_little() -> None:
    """
    Lambda refuses to reserve of the ten that a new account has.
    """
    made = stack(ReservedConcurrency="0", EventSource="sqs")
    assert "ReservedConcurrentExecutions" not in made["PreprocessorFunction"]
    assert made["EventQueueReader"]["ScalingConfig"] == {"MaximumConcurrency": 4}


@FORM
def test_names_are_as_long_as_aws_allows(parameters: dict[str, str]) -> None:
    """
    Also with the longest prefix, in the region with the longest name.
    """
    made = stack(**parameters, NamePrefix="c" * 20)
    longest = made["Bucket"]["BucketName"].replace("eu-central-1", "ap-southeast-1")
    assert len(longest) <= 63
    for function in made.of_type("AWS::Serverless::Function").values():
        assert len(function["FunctionName"]) <= 64


def test_the_runtime_and_the_bundles_are_of_one_python() -> None:
    """
    The wheels in a bundle are those of one version.
    """
    source = (ROOT / "deploy" / "bundles" / "make.py").read_text("utf-8")
    (version,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHON"
    )
    functions = stack(ApiKind="http", **OF_API).of_type("AWS::Serverless::Function")
    assert {one["Runtime"] for one in functions.values()} == {f"python{version}"}


def written(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment, capsys: pytest.CaptureFixture[str]
) -> set[Series]:
    """The series that both functions write, over every outcome that has an alarm."""
    pipeline = Pipeline(monkeypatch, s3)
    pipeline.run(
        pipeline.put("crl/stale.crl", PKI.crl(age=timedelta(days=2), lifetime=timedelta(days=1)))
    )
    crl = pipeline.put("crl/ca.crl", PKI.crl(number=9))
    pipeline.run(crl)
    pipeline.run(crl)
    pipeline.run(pipeline.put("crl/old.crl", PKI.crl(number=1)))
    pipeline.run((s3.bucket, "crl/gone.crl"), pipeline.put("other/ca.crl", PKI.crl()))
    now = datetime.now(UTC).replace(microsecond=0)
    delta = sign_crl(
        PKI.stranger,
        [],
        this_update=now,
        next_update=now + timedelta(days=1),
        crl_number=5,
        extensions=[delta_of(4)],
    )
    pipeline.put("issuers/stranger.pem", PKI.stranger.pem)
    pipeline.start()
    with pytest.raises(ExceptionGroup):  # its complete CRL may still come
        pipeline.run(pipeline.put("crl/delta.crl", delta))
    pipeline.invoke({"status": True})
    function = load(monkeypatch, pipeline.store)
    for client in ("good", "revoked", "foreign"):
        function.handler(authorizer_event("rest", PKI.client(client)), None)
    return series_of(capsys.readouterr().out.splitlines())


def renamed(series: Series, store: str, bucket: str) -> Series:
    """The same series in the bucket of the template."""
    pairs = ((name, value.replace(store, bucket)) for name, value in series.dimensions)
    return series._replace(dimensions=frozenset(pairs))


def test_every_alarm_is_on_a_metric_that_the_functions_write(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With exactly these dimensions: CloudWatch takes any others for another series, which
    never has a value.
    """
    made = stack()
    bucket = made["Bucket"]["BucketName"]
    real = {renamed(one, s3.bucket, bucket) for one in written(monkeypatch, s3, capsys)}
    alarms = made.of_type("AWS::CloudWatch::Alarm")
    watched = {one for alarm in alarms.values() for one in series_of_alarm(alarm)}
    own = {one for one in watched if not one.namespace.startswith("AWS/")}
    assert own
    assert own - real == set()
    widgets = json.loads(made["Dashboard"]["DashboardBody"])["widgets"]
    shown = {one for widget in widgets for one in shown_series(widget["properties"]["metrics"])}
    shown = {one for one in shown if not one.namespace.startswith("AWS/")}
    assert shown
    assert shown - real == set()
    (search,) = (
        metric[0]["expression"]
        for widget in widgets
        for metric in widget["properties"]["metrics"]
        if isinstance(metric[0], dict)
    )
    assert found_by(search, real) == {
        one for one in real if one.name == "decisions" and "cause" in dict(one.dimensions)
    }


def found_by(search: str, real: set[Series]) -> set[Series]:
    """The series that a search of CloudWatch finds: by the names of all dimensions, and values."""
    read = re.fullmatch(r"SEARCH\('\{([\w,]+)\} (.*)', 'Sum', 300\)", search)
    assert read is not None
    names, terms = read.groups()
    namespace, *dimensions = names.split(",")
    values = dict(re.findall(r'(\w+)="([^"]+)"', terms))
    name = values.pop("MetricName")
    return {
        one
        for one in real
        if (one.namespace, one.name) == (namespace, name)
        and dict(one.dimensions).keys() == set(dimensions)
        and values.items() <= dict(one.dimensions).items()
    }


def test_alarms_on_aws_s_own_metrics_name_what_they_are_for() -> None:
    """
    The function, or the queue, of their own name.
    """
    made = stack()
    named = {}
    for alarm in made.of_type("AWS::CloudWatch::Alarm").values():
        for series in series_of_alarm(alarm):
            if series.namespace.startswith("AWS/"):
                named[alarm["AlarmName"]] = (series.name, dict(series.dimensions))
    own = {
        f"crlcheck-{name}-{metric.lower()}": (metric, {"FunctionName": f"crlcheck-{name}"})
        for name in ("authorizer", "preprocessor")
        for metric in ("Errors", "Throttles", "Duration")
    }
    queue = {"QueueName": made["FailureQueue"]["QueueName"]}
    assert named == own | {"crlcheck-failure-queue": ("ApproximateNumberOfMessagesVisible", queue)}


def shown_series(metrics: list[list[Any]]) -> set[Series]:
    """The series of a widget, which has the names and values of a metric in one list."""
    found = set()
    for metric in metrics:
        texts = [one for one in metric if isinstance(one, str)]
        if texts:
            namespace, name, *pairs = texts
            dimensions = frozenset(zip(pairs[::2], pairs[1::2], strict=True))
            found.add(Series(namespace, name, dimensions))
    return found


def test_every_alarm_that_the_documents_advise_is_there() -> None:
    """
    Each metric that a sentence of theirs says to alarm on has an alarm. Signatures are left
    out, because this stack has no key to sign with.
    """
    advised = set()
    for path in (document("operations.md"), document("authorizer.md")):
        for line in path.read_text("utf-8").splitlines():
            if re.match(r"(Useful alarms|Alarm on)\b", line):
                advised |= set(re.findall(r"`(\w+)`", line))
    assert {"Rejected", "Failed", "TimeLeft", "seconds_to_next_update"} <= advised
    alarms = stack().of_type("AWS::CloudWatch::Alarm").values()
    watched = {one.name for alarm in alarms for one in series_of_alarm(alarm)}
    assert advised - watched - {"seconds_signed"} == set()


SILENT_FAULTS = {"NoPublicationAlarm", "TimeLeftAlarm"}


def test_silence_is_an_alarm_where_it_is_a_fault() -> None:
    """
    Nothing else is: a function that nobody asks has no values.
    """
    alarms = stack().of_type("AWS::CloudWatch::Alarm")
    silent = {name for name, one in alarms.items() if one["TreatMissingData"] == "breaching"}
    assert silent == SILENT_FAULTS
    assert {one["TreatMissingData"] for one in alarms.values()} == {"breaching", "notBreaching"}
    # The hourly status, and the rescan, always leave a value in these times.
    made = stack()
    assert made["StatusRule"]["ScheduleExpression"] == "rate(1 hour)"
    (left,) = (
        one["MetricStat"] for one in alarms["TimeLeftAlarm"]["Metrics"] if "MetricStat" in one
    )
    assert left["Period"] == 2 * 3600
    assert made["RescanRule"]["ScheduleExpression"] == "rate(12 hours)"
    assert int(made["NoPublicationAlarm"]["EvaluationPeriods"]) == 24


def test_alarms_reach_the_topic() -> None:
    """
    Both that one is raised and that it is over.
    """
    topic = EVERYTHING["AlarmTopicArn"]
    for alarm in stack(AlarmTopicArn=topic).of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    for alarm in stack().of_type("AWS::CloudWatch::Alarm").values():
        assert "AlarmActions" not in alarm
    names = [one["AlarmName"] for one in stack().of_type("AWS::CloudWatch::Alarm").values()]
    assert len(set(names)) == len(names)


def test_the_stages_give_parameters_that_the_template_has() -> None:
    """
    Staging observes and production enforces, each with names of its own.
    """
    config = tomllib.loads((SAM / "samconfig.toml").read_text("utf-8"))
    stages = {}
    for stage in ("staging", "production"):
        deploy = config[stage]["deploy"]["parameters"]
        given = dict(one.split("=", 1) for one in deploy["parameter_overrides"])
        made = stack(**given)
        settings = read_settings(AuthorizerSettings, environment_of(made, "AuthorizerFunction"))
        stages[stage] = (settings.mode, deploy["stack_name"], made["Bucket"]["BucketName"])
        assert deploy["capabilities"] == "CAPABILITY_IAM"
    modes, *names = zip(*stages.values(), strict=True)
    assert modes == (Mode.OBSERVE, Mode.ENFORCE)
    assert all(len(set(one)) == 2 for one in names)


GUIDE = document("sam.md")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of a table of the guide, whose first row begins with *heading*."""
    text = GUIDE.read_text("utf-8")
    table = re.search(rf"^\| {heading} \|.*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[1].splitlines()]


def test_the_guide_has_every_parameter_with_its_default() -> None:
    """
    In the order in which the console of CloudFormation shows them.
    """
    template = sam_template()
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows_of("parameter")}
    assert list(documented) == shown == list(template["Parameters"])
    assert documented == {name: str(one["Default"]) for name, one in template["Parameters"].items()}


def test_the_guide_has_every_alarm() -> None:
    """
    And says of those that silence raises that it does.
    """
    alarms = stack().of_type("AWS::CloudWatch::Alarm").values()
    rows = {row[0].strip("`"): row[1] for row in rows_of("alarm")}
    names = [one["AlarmName"].removeprefix("crlcheck-") for one in alarms]
    assert list(rows) == names
    silent = {name for name, text in rows.items() if "nothing is known" in text}
    breaching = {
        one["AlarmName"].removeprefix("crlcheck-")
        for one in alarms
        if one["TreatMissingData"] == "breaching"
    }
    assert silent == breaching


def test_the_guide_has_every_way_of_an_upload() -> None:
    """
    Those that the parameter allows.
    """
    ways = [row[0].strip("`") for row in rows_of("`EventSource`")]
    assert ways == sam_template()["Parameters"]["EventSource"]["AllowedValues"]


HOUR = 3600
RAISED_BY = {
    "rejected": (1, 0),
    "failed": (3, 2),
    "warnings": (1, 0),
    "failure-queue": (1, 0),
    "no-publication": (0, 1),
    "time-left": (24 * HOUR - 1, 24 * HOUR),
    "unreadable-objects": (1, 0),
    "seconds-to-next-update": (24 * HOUR - 1, 24 * HOUR),
    "catalog-age": (6 * HOUR + 1, 6 * HOUR),
    "store-errors": (3, 2),
    "refused-catalogs": (1, 0),
    "undetermined": (1, 0),
    "preprocessor-errors": (3, 2),
    "preprocessor-throttles": (1, 0),
    "preprocessor-duration": (600_001, 600_000),
    "authorizer-errors": (1, 0),
    "authorizer-throttles": (1, 0),
    "authorizer-duration": (3001, 3000),
}
"""The value of a metric that raises each alarm, and the nearest that does not."""


def is_raised(alarm: dict[str, Any], value: float) -> bool:
    """Whether *value*, in every period, raises an alarm."""
    if "Metrics" in alarm:
        (expression,) = (one["Expression"] for one in alarm["Metrics"] if "Expression" in one)
        names = {"seconds": value, "published": value, "unchanged": 0}
        value = eval(expression, {"FILL": lambda known, _missing: known}, names)
    threshold = float(alarm["Threshold"])
    return {
        "GreaterThanOrEqualToThreshold": value >= threshold,
        "GreaterThanThreshold": value > threshold,
        "LessThanThreshold": value < threshold,
    }[alarm["ComparisonOperator"]]


def test_each_alarm_is_raised_by_the_value_that_it_is_for() -> None:
    """
    And by none before.
    """
    alarms = stack().of_type("AWS::CloudWatch::Alarm").values()
    by_name = {one["AlarmName"].removeprefix("crlcheck-"): one for one in alarms}
    assert by_name.keys() == RAISED_BY.keys()
    for name, (raises, does_not) in RAISED_BY.items():
        assert is_raised(by_name[name], raises), name
        assert not is_raised(by_name[name], does_not), name
    # Of several scopes and instances, the worst counts.
    worst = {
        "time-left": "Minimum",
        "seconds-to-next-update": "Minimum",
        "catalog-age": "Maximum",
        "unreadable-objects": "Maximum",
        "failure-queue": "Maximum",
    }
    for name, alarm in by_name.items():
        of_metric = [
            one["MetricStat"]["Stat"] for one in alarm.get("Metrics", ()) if "MetricStat" in one
        ]
        found = {alarm.get("Statistic") or alarm.get("ExtendedStatistic"), *of_metric} - {None}
        expected = "p99" if name.endswith("-duration") else worst.get(name, "Sum")
        assert found == {expected}, name


def test_other_limits_of_alarms_are_parameters() -> None:
    """
    In hours, as the guide says.
    """
    alarms = stack(ExpiryAlarmHours="2", MaxCatalogAgeHours="4", PublicationAlarmHours="48")
    assert is_raised(alarms["TimeLeftAlarm"], 2 * HOUR - 1)
    assert not is_raised(alarms["TimeLeftAlarm"], 2 * HOUR)
    assert is_raised(alarms["SecondsToNextUpdateAlarm"], 2 * HOUR - 1)
    assert is_raised(alarms["CatalogAgeAlarm"], 2 * HOUR + 1)
    assert not is_raised(alarms["CatalogAgeAlarm"], 2 * HOUR)
    assert int(alarms["NoPublicationAlarm"]["EvaluationPeriods"]) == 48
