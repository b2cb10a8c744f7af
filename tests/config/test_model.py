from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.file import parse_config_file
from monitor.config.model import Config, load_config
from monitor.config.reference import reference_config, setting_at, settings_of
from monitor.errors import ConfigInvalid
from monitor.log import LogFormat, LogLevel

REFERENCE = Path(__file__).parents[2] / "cliffwatch.yaml"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.upper().startswith("CLIFFWATCH_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def problems_of(path: Path | None) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    return str(caught.value).replace(f"{path}:", "c.yaml:").splitlines()


def test_without_a_file_every_default_holds() -> None:
    """A person may start with nothing."""
    config = load_config()

    assert (LogLevel.INFO, "127.0.0.1:9464", 0.10) == (
        config.log.level,
        config.web.listen_address,
        config.rollout.share_jump,
    )


def test_the_reference_file_is_what_the_code_says() -> None:
    """cliffwatch.yaml is rebuilt by `make generate`."""
    assert reference_config(Config) == REFERENCE.read_text()


def test_the_module_prints_the_reference_file() -> None:
    """`python -m monitor.config.model` is the way to a first config."""
    printed = subprocess.run(
        [sys.executable, "-m", "monitor.config.model"], capture_output=True, text=True, check=True, timeout=60
    )

    assert REFERENCE.read_text() == printed.stdout


def test_the_reference_file_gives_exactly_the_defaults() -> None:
    """Nothing in it changes anything, so each line can be deleted."""
    assert load_config() == load_config(REFERENCE)


def test_the_reference_file_has_every_key_and_explains_it() -> None:
    """A key that is not in the file would be one that nobody finds."""
    written = yaml.safe_load(REFERENCE.read_text())

    assert list(Config.model_fields) == list(written)
    for name, section in Config.model_fields.items():
        settings = settings_of(section.annotation)
        assert list(settings) == list(written[name])
        assert [] == [key for key, setting in settings.items() if not setting.description]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "log:\n  levl: info\n",
            ["c.yaml:2: log.levl: unknown key (did you mean level? allowed: level, format)"],
            id="an unknown key is named with its line and the key that was probably meant",
        ),
        pytest.param(
            "log:\n  qqqq: info\n",
            ["c.yaml:2: log.qqqq: unknown key (allowed: level, format)"],
            id="an unknown key like no other has no suggestion",
        ),
        pytest.param(
            "log:\n  # a comment\n  level: verbose\n",
            ["c.yaml:3: log.level: `verbose` is not allowed (debug, info, warning or error)"],
            id="a word of a closed set is answered with the set",
        ),
        pytest.param(
            "rollout:\n  share_jump: 1.5\n",
            ["c.yaml:2: rollout.share_jump: 1.5 is not allowed (a number above 0 and below 1)"],
            id="a number out of its range is answered with the range",
        ),
        pytest.param(
            "rollout:\n  share_jump: ten percent\n",
            ["c.yaml:2: rollout.share_jump: `ten percent` is not allowed (a number above 0 and below 1)"],
            id="a word for a number is shown",
        ),
        pytest.param(
            "rollout:\n  min_hard_failures: yes\n",
            ["c.yaml:2: rollout.min_hard_failures: true is not allowed (a whole number of at least 1)"],
            id="yes is no number though Python says that it is one",
        ),
        pytest.param(
            "rollout:\n  ramp_seconds: .inf\n",
            ["c.yaml:2: rollout.ramp_seconds: inf is not allowed (a number above 0, finite)"],
            id="infinity is no number that can be waited for",
        ),
        pytest.param(
            "rollout:\n  maturity_seconds: .nan\n",
            ["c.yaml:2: rollout.maturity_seconds: nan is not allowed (a number of at least 0 or null, finite)"],
            id="not a number is no number, and is complained about once",
        ),
        pytest.param(
            "rollout:\n  maturity_seconds: 1.0e+300\n  ok_margin: 1e-300\n",
            [
                "c.yaml:2: rollout.maturity_seconds: is too large or too small (from 1e-30 to 1e+09, or 0)",
                "c.yaml:3: rollout.ok_margin: is too large or too small (from 1e-30 to 4.61169e+18, or 0)",
            ],
            id="a number that cannot be reckoned with is refused before it stops a review",
        ),
        pytest.param(
            "service:\n  review_interval_seconds: 1.0e+10\nledger:\n  evidence_days: 1.0e+9\n",
            [
                "c.yaml:2: service.review_interval_seconds: is too large or too small (from 1e-30 to 1e+09, or 0)",
                "c.yaml:4: ledger.evidence_days: is too large or too small (from 1e-30 to 1e+06, or 0)",
            ],
            id="a time that no clock waits for and no column holds",
        ),
        pytest.param(
            "web:\n  trace_url: javascript:alert(1)\n",
            [
                (
                    "c.yaml:2: web.trace_url: the text given is not allowed (Link to a trace, http or https, with the "
                    "placeholders {trace_id}, {service}, {environment} and {model_version}; empty for no links)"
                )
            ],
            id="what a key is for is one line, however it is wrapped in the code",
        ),
        pytest.param(
            "rollout:\n  floors:\n    - service: shop\n      pass_rate: 0.5\n    - service: desk\n",
            ["c.yaml:5: rollout.floors.1.pass_rate: is missing (a number above 0 and below 1)"],
            id="a missing key has the line of the entry that lacks it",
        ),
        pytest.param(
            "rollout:\n  floors:\n    - {service: shop, pass_rate: 0.5, pas_rate: 0.6}\n",
            [
                (
                    "c.yaml:3: rollout.floors.0.pas_rate: unknown key (did you mean pass_rate? allowed: service, "
                    "pass_rate, tier, environment, capability, agreed_by, agreed_on)"
                )
            ],
            id="an unknown key in a list entry is named with its place",
        ),
        pytest.param(
            "ledger:\n  url_file: 5\n",
            ["c.yaml:2: ledger.url_file: a number without quotes is not allowed (text)"],
            id="a number for a text is told to need quotes",
        ),
        pytest.param(
            "kafka:\n  topics: [a, b]\n  dead_letter_topic: b\n",
            [
                (
                    "c.yaml:3: kafka.dead_letter_topic: is a topic that is read, so that each dead letter would make "
                    "another; name another one"
                )
            ],
            id="dead letters go nowhere where they are read again",
        ),
        pytest.param(
            "kafka:\n  topics: [traces, 'a b', outcomes]\n",
            ["c.yaml:2: kafka.topics.1: the text given is not allowed (letters, digits, dots, _ and -)"],
            id="a topic has a name that Kafka takes",
        ),
        pytest.param(
            "rollout:\n  floors:\n"
            "    - {service: shop, pass_rate: 0.5}\n"
            "    - {service: desk, pass_rate: 0.5}\n"
            "    - {service: shop, pass_rate: 0.7, tier: hard}\n",
            [
                (
                    "c.yaml:2: rollout.floors: has 2 entries for service shop, environment production, tier hard; "
                    "keep one of them"
                )
            ],
            id="of two floors for the same requests one would not count",
        ),
        pytest.param(
            "rollout:\n  severities: [{capability: a, weight: 2}, {capability: a, weight: 3}]\n",
            ["c.yaml:2: rollout.severities: has 2 entries for capability a; keep one of them"],
            id="a class costs one thing",
        ),
        pytest.param(
            "traces:\n  topics: [{topic: a}, {topic: b}, {topic: a}]\n",
            ["c.yaml:2: traces.topics: has 2 entries for topic a; keep one of them"],
            id="a topic has one rule",
        ),
        pytest.param(
            "traces:\n  outcomes:\n    sources: []\n",
            ["c.yaml:3: traces.outcomes.sources: a list is not allowed (a list that is not empty, each text)"],
            id="without a source there is no outcome",
        ),
        pytest.param(
            "traces:\n  tiers:\n    - {tier: hard, min_tools: 5, max_tools: 3}\n",
            ["c.yaml:3: traces.tiers.0: no request has at least 5 and at most 3 tools"],
            id="a rule that fits nothing",
        ),
        pytest.param(
            "traces:\n  outcomes:\n    evaluations: [{name: x, fails_below: 0.9, fails_above: 0.5}]\n",
            ["c.yaml:3: traces.outcomes.evaluations.0: every score is below 0.9 or above 0.5, and so fails"],
            id="a rule that fails everything",
        ),
        pytest.param(
            "log:\n  level: info\n  level: debug\n",
            ["c.yaml:3: log.level: is given twice (first on line 2; keep one of them)"],
            id="a key that is given twice is an error and not a matter of order",
        ),
        pytest.param(
            "lgo:\n  level: info\n",
            [f"c.yaml:1: lgo: unknown key (did you mean log? allowed: {', '.join(Config.model_fields)})"],
            id="an unknown section is named",
        ),
        pytest.param(
            "log: [info\n",
            ["c.yaml:2: is not valid YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"],
            id="a syntax error has its line",
        ),
        pytest.param(
            "log:\n\tlevel: info\n",
            [
                (
                    "c.yaml:2: is not valid YAML: while scanning for the next token found character '\\t' that cannot "
                    "start any token"
                )
            ],
            id="a tab is pointed at",
        ),
        pytest.param(
            "- log\n",
            ["c.yaml:1: must be a mapping of sections, such as `log:`"],
            id="a list is no config",
        ),
        pytest.param(
            "log: verbose\n",
            ["c.yaml:1: log: `verbose` is not allowed (a mapping with the keys level, format)"],
            id="a word for a section is answered with its keys",
        ),
        pytest.param(
            "log: &log\n  level: *log\n",
            ["c.yaml:2: log.level: refers to itself through a YAML alias"],
            id="an alias that holds itself ends",
        ),
        pytest.param(
            "log:\n  ? [a]\n  : b\n",
            ["c.yaml:2: log: has a key that is not a word"],
            id="a key that is a list is refused",
        ),
        pytest.param(
            "rollout: {share_jump: !!int x}\n",
            ["c.yaml:1: rollout.share_jump: cannot be read as int"],
            id="a tag that does not fit its value is refused",
        ),
        pytest.param(
            "web:\n  listen_address: ''\nledger:\n  url: [a]\n",
            [
                "c.yaml:2: web.listen_address: the text given is not allowed (text that is not empty)",
                "c.yaml:4: ledger.url: a list is not allowed (text that is not empty)",
            ],
            id="several problems are told at once, in the order of their lines",
        ),
    ],
)
def test_every_problem_is_reported_with_its_line(config_file: Path, text: str, expected: list[str]) -> None:
    """One run of check-config is enough to mend a file."""
    config_file.write_text(text)

    assert expected == problems_of(config_file)


@pytest.mark.parametrize(
    ("section", "key", "value", "form"),
    [
        ("kafka", "bootstrap_servers", "http://broker:9092", "HOST:PORT of one or more brokers"),
        ("kafka", "bootstrap_servers", "${BROKERS}", "HOST:PORT of one or more brokers"),
        ("web", "listen_address", "0.0.0.0", "HOST:PORT to listen on"),
        ("web", "listen_address", "0.0.0.0:65536", "HOST:PORT to listen on"),
        ("ledger", "url", "./cliffwatch.db", "sqlite:///FILE"),
        ("ledger", "url", "sqlite://cliffwatch.db", "sqlite:///FILE"),
    ],
)
def test_text_of_another_form_is_told_the_form(
    config_file: Path, section: str, key: str, value: str, form: str
) -> None:
    """Before anything starts, and without repeating the text, which may hold a secret."""
    config_file.write_text(yaml.safe_dump({section: {key: value}}))

    (problem,) = problems_of(config_file)

    assert f"c.yaml:2: {section}.{key}: the text given is not allowed (" in problem
    assert (True, False) == (form in problem, value in problem)


def test_what_is_only_compared_may_be_any_number(config_file: Path) -> None:
    """An id, a time in nanoseconds and a p-value."""
    config_file.write_text(
        "traces:\n  tiers:\n    - {tier: hard, attribute: id, equals: 1290123456789012345}\n"
        "    - {tier: easy, attribute: at, at_least: 1764530000000000000}\n"
        "  outcomes:\n    evaluations:\n      - {name: p, fails_below: 1.0e-10}\n"
    )

    traces = load_config(config_file).traces

    assert float(1290123456789012345) == traces.tiers[0].equals
    assert 1.0e-10 == traces.outcomes.evaluations[0].fails_below


def test_problems_of_file_and_environment_come_together(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's come first, then each variable by its name."""
    config_file.write_text("log:\n  format: xml\n")
    monkeypatch.setenv("CLIFFWATCH_LOG__LEVEL", "loud")
    monkeypatch.setenv("CLIFFWATCH_ROLLOUT__SHARE_JUMP", "nan")

    assert [
        "c.yaml:2: log.format: `xml` is not allowed (logfmt or json)",
        "CLIFFWATCH_LOG__LEVEL: log.level: `loud` is not allowed (debug, info, warning or error)",
        (
            "CLIFFWATCH_ROLLOUT__SHARE_JUMP: rollout.share_jump: `nan` is not allowed (a number above 0 and below 1, "
            "finite)"
        ),
    ] == problems_of(config_file)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param(
            "CLIFFWATCH_LOG__LEVL",
            "info",
            "CLIFFWATCH_LOG__LEVL: log.levl: unknown key (did you mean level? allowed: level, format)",
            id="an unknown key",
        ),
        pytest.param(
            "CLIFFWATCH_LGO__LEVEL",
            "info",
            f"CLIFFWATCH_LGO__LEVEL: unknown key (did you mean log? allowed: {', '.join(Config.model_fields)})",
            id="an unknown section",
        ),
        pytest.param(
            "CLIFFWATCH_KAFKA_BOOTSTRAP_SERVERS",
            "broker:9092",
            "CLIFFWATCH_KAFKA_BOOTSTRAP_SERVERS: two underscores stand between section and key "
            "(write CLIFFWATCH_KAFKA__BOOTSTRAP_SERVERS)",
            id="one underscore for two",
        ),
        pytest.param(
            "CLIFFWATCH_ROLLOUT__FLOORS",
            '[{"service": "shop"}]',
            "CLIFFWATCH_ROLLOUT__FLOORS: rollout.floors.0.pass_rate: is missing (a number above 0 and below 1)",
            id="a key that is missing in JSON",
        ),
        pytest.param(
            "CLIFFWATCH_LOG",
            "loud",
            "CLIFFWATCH_LOG: log: `loud` is not allowed (a mapping with the keys level, format)",
            id="a word for a section",
        ),
    ],
)
def test_a_problem_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    """Nobody looks into the file for what came from elsewhere."""
    monkeypatch.setenv(variable, value)

    assert [expected] == problems_of(None)


@pytest.mark.parametrize(
    "text",
    [
        "kafka:\n  sasl_password: 271828\n",
        "kafka:\n  sasl_password: [271828]\n",
        "kafka:\n  sasl_password: {a: 271828}\n",
        "kafka:\n  sasl_password: 'a'\n  sasl_password: '271828'\n",
        "kafka:\n  sasl_password: !!timestamp 271828x\n  sasl_pasword: 271828\n",
        "kafka:\n  sasl_password: 'a\\271828\n",
        'kafka:\n  sasl_password: "\\q271828"\n',
        "kafka:\n  sasl_password: %271828\n",
    ],
    ids=[
        "a number",
        "a list",
        "a mapping",
        "given twice",
        "in a key that is misspelt",
        "a quote that does not end",
        "a wrong escape",
        "a wrong first character",
    ],
)
def test_a_secret_is_never_repeated(config_file: Path, text: str) -> None:
    """A complaint ends up in logs and tickets, so text that may be a password is left out of it."""
    config_file.write_text(text)

    with pytest.raises(ConfigInvalid) as caught:
        load_config(config_file)

    assert "271828" not in str(caught.value)


def test_the_environment_wins_over_the_file(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key is replaced; its neighbours in the file stay."""
    config_file.write_text("log:\n  level: error\n  format: json\n")
    monkeypatch.setenv("CLIFFWATCH_LOG__LEVEL", "debug")

    config = load_config(config_file)

    assert (LogLevel.DEBUG, LogFormat.JSON) == (config.log.level, config.log.format)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CLIFFWATCH_ROLLOUT__MIN_HARD_FAILURES", "7", {"rollout": {"min_hard_failures": 7}}),
        ("CLIFFWATCH_KAFKA__TOPICS", "a, b", {"kafka": {"topics": ["a", "b"]}}),
        ("CLIFFWATCH_KAFKA__TOPICS", '["a"]', {"kafka": {"topics": ["a"]}}),
        ("CLIFFWATCH_LEDGER__URL_FILE", "5", {"ledger": {"url_file": "5"}}),
        ("CLIFFWATCH_LOG", '{"format": "json"}', {"log": {"format": "json"}}),
        ("cliffwatch_log__format", "json", {"log": {"format": "json"}}),
        (
            "CLIFFWATCH_ROLLOUT__FLOORS",
            '[{"service": "shop", "pass_rate": 0.5}]',
            {"rollout": {"floors": [{"service": "shop", "pass_rate": 0.5}]}},
        ),
    ],
    ids=[
        "a number",
        "words with commas",
        "words as JSON",
        "text that looks like a number",
        "a section as JSON",
        "in small letters",
        "a list of mappings as JSON",
    ],
)
def test_variables_mean_what_the_file_would(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: dict[str, Any]
) -> None:
    """Each way of writing a value gives the config that YAML gives."""
    config_file.write_text(yaml.safe_dump(expected))
    defaults, from_file = load_config(), load_config(config_file)

    monkeypatch.setenv(variable, value)

    assert from_file == load_config()
    assert from_file != defaults


def test_what_kubernetes_puts_beside_a_service_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service named cliffwatch sets these in every pod of its namespace."""
    monkeypatch.setenv("CLIFFWATCH_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("CLIFFWATCH_PORT", "tcp://10.0.0.7:9464")
    monkeypatch.setenv("CLIFFWATCH_PORT_9464_TCP_ADDR", "10.0.0.7")

    assert load_config(REFERENCE) == load_config()


@pytest.mark.parametrize("text", ["", "# nothing\n", "log:\n", "log: {}\nweb:\n"])
def test_what_is_left_out_has_its_default(config_file: Path, text: str) -> None:
    """An empty file, or a section with all its keys commented out, is no mistake."""
    config_file.write_text(text)

    assert load_config() == load_config(config_file)


def test_a_day_needs_no_quotes(config_file: Path) -> None:
    """YAML reads 2026-11-23 as a date; to us it is text."""
    config_file.write_text("rollout:\n  floors:\n    - {service: shop, pass_rate: 0.5, agreed_on: 2026-11-23}\n")

    assert load_config(config_file).rollout.floors[0].agreed_on == "2026-11-23"


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """The sentence says how to get a first one."""
    with pytest.raises(ConfigInvalid, match=r"nowhere\.yaml: cannot be read: No such file.*cliffwatch init"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_config_cannot_be_changed_afterwards() -> None:
    """What was checked is what runs."""
    config = load_config()

    with pytest.raises(ValueError, match="frozen"):
        config.log = config.log


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_stops_the_reader(content: bytes) -> None:
    """Whatever a file holds, the answer is values or a problem with a line."""
    file = parse_config_file(content)

    assert all(problem.line >= 1 for problem in file.problems)
    assert isinstance(file.values, dict)


def test_a_place_that_does_not_exist_has_no_setting() -> None:
    """A path is followed through sections, lists and mappings, and ends where they end."""
    assert setting_at(Config, ("rollout", "floors", 0, "pass_rate")) is not None
    assert setting_at(Config, ("rollout", "floors", 0, "nothing")) is None
    assert setting_at(Config, ("rollout", "share_jump", "deeper")) is None
    assert setting_at(Config, ("nothing",)) is None
    assert setting_at(Config, ()) is None
