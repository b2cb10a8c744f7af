"""Families of a case: what is refilled or reworded, and what the report makes of their results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.cli.probes import read_panel
from monitor.config.model import Config
from monitor.probes.panel import family
from tests.event_histories import write_events
from tests.probes.agents import python_agent, write_panel

CASES: Sequence[Mapping[str, Any]] = (
    {
        "request_id": "a",
        "capability": "refunds",
        "text": "Refund order 4711 to Ada Lovelace, only order 4711, by 2026-11-05.",
        "expected": {"order": 4711, "say": "4711 goes to Ada Lovelace, not to 47110."},
    },
    {"request_id": "b", "capability": "refunds", "text": "Refund order 12 to Zoë Ångström by 5 May 2025."},
    {"request_id": "c", "capability": "refunds", "text": "Refund order 88 to Bob by November 3, 2024."},
    {"request_id": "d", "capability": "search", "text": "Where is it?", "rubric": "says where"},
    {"request_id": "e", "capability": "search", "text": "Where was Cleo at 14:30?"},
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def panel(cases: Sequence[Mapping[str, Any]] = CASES) -> str:
    Path("panel.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    return "panel.jsonl"


def made(*arguments: str, code: int = 0) -> Mapping[str, dict[str, Any]]:
    """What `probes variants` writes, by name."""
    assert code == run_command(["probes", "variants", *arguments, "--write", "families.jsonl"])
    lines = [json.loads(line) for line in Path("families.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["request_id"]: line for line in lines}


def test_slots_are_refilled_from_cases_of_the_same_class() -> None:
    """A value that comes twice is replaced by one other value, in the expected answer too, as text and as number."""
    found = made(panel(), "--count", "3")

    assert ["a", "a/variant-1", "a/variant-2", "a/variant-3"] == [name for name in found if name.startswith("a")]
    assert CASES[0] == found["a"]
    for name in ("a/variant-1", "a/variant-2", "a/variant-3"):
        slots = found[name]["slots"]
        order, who = slots["number1"], slots["name1"]
        assert {order} <= {"12", "88"}
        assert {who} <= {"Zoë Ångström", "Bob"}
        assert {slots["date1"]} <= {"5 May 2025", "November 3, 2024"}
        assert (
            f"Refund order {order} to {who}, only order {order}, by {slots['date1']}." == found[name]["request"]["text"]
        )
        assert {"order": int(order), "say": f"{order} goes to {who}, not to 47110."} == found[name]["expected"]
    assert 4 == len({found[name].get("request", found[name])["text"] for name in found if name.startswith("a")})


def test_a_seed_makes_the_same_variants_again() -> None:
    """Whatever the order of the panel's lines; another seed makes others, and families of families are not made."""
    first, again = made(panel(), "--count", "2"), made(panel(CASES[::-1]), "--count", "2")
    other = made(panel(), "--count", "2", "--seed", "1")
    of_families = made(panel([*first.values()]), "--count", "2")

    assert first == again
    assert first == of_families
    assert list(first) == list(other)
    assert first != other


def test_a_class_that_has_too_few_values_takes_those_of_all() -> None:
    """And a case without a slot stays alone."""
    found = made(panel())

    assert "Where was " in found["e/variant-1"]["request"]["text"]
    assert {found["e/variant-1"]["slots"]["name1"]} <= {"Ada Lovelace", "Zoë Ångström", "Bob"}
    assert "14:30" == found["e/variant-1"]["slots"]["time1"]
    assert ["d"] == [name for name in found if name.startswith("d")]


def test_a_line_s_own_template_says_what_may_change() -> None:
    """What it has no slot for stays as it is."""
    own = {
        **CASES[0],
        "template": "Refund order {number1} to Ada Lovelace by 2026-11-05.",
        "slots": {"number1": "4711"},
    }

    (_, variant, *_) = made(panel([own, *CASES[1:]]), "--case", "a").values()

    assert {"number1"} == set(variant["slots"])
    assert "to Ada Lovelace by 2026-11-05." in variant["request"]["text"]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        pytest.param("Use the JSON API in March, on Monday.", {}, id="acronyms, months and days are no names"),
        pytest.param("Put {number1} before 7.", {"number2": "7"}, id="braces of the text are no slots"),
        pytest.param(
            "At 2026-11-05T10:00:00Z, 1,200.50 USD",
            {"date1": "2026-11-05T10:00:00Z", "number1": "1,200.50"},
            id="a time stamp is one slot",
        ),
        pytest.param("ask\nAda\tfor 東京 ٣", {"number1": "٣"}, id="any script"),
    ],
)
def test_what_is_a_slot(text: str, slots: Mapping[str, str]) -> None:
    """Only what can be exchanged without changing what is asked."""
    others = [{"request_id": f"o{n}", "text": f"Give {n + 500} to Eve{n} on 2020-01-0{n + 1}."} for n in range(5)]

    found = made(panel([{"request_id": "x", "text": text}, *others]), "--case", "x", "--count", "1")

    assert set(slots) == set(found["x/variant-1"]["slots"] if slots else {})
    for value in slots.values():
        assert value not in found["x/variant-1"]["request"]["text"]


def test_what_goes_to_standard_output_is_json_and_commands_no_runner(capsys: pytest.CaptureFixture[str]) -> None:
    """A prompt may hold anything."""
    case = {"request_id": "x", "text": "##[group] ::error\u009b 7"}

    assert 0 == run_command(["probes", "variants", panel([case])])

    said = capsys.readouterr()
    assert case == json.loads(said.out)
    assert "##[" not in said.out
    assert "1 case, 0 variants; 1 without: no slot that another case can fill, see --exec." in said.err


def test_a_paraphraser_rewords_cases(tmp_path: Path) -> None:
    """It reads the case, the variant's number and the seed; what it says twice is one variant."""
    rewords = python_agent(
        tmp_path,
        "assert 'rubric' not in q or q['rubric'] == 'says where'\n"
        "new = f\"{q['request']['text']} Please! {q['seed']} {q['variant'] // 2}\"\n"
        "print(json.dumps({'text': new, 'expected': q['variant']}))",
    )

    found = made(panel(), "--exec", rewords, "--case", "d", "--count", "3", "--seed", "9")

    assert ["d", "d/variant-1", "d/variant-2"] == list(found)
    assert "Where is it? Please! 9 0" == found["d/variant-1"]["request"]["text"]
    assert (1, "says where") == (found["d/variant-1"]["expected"], found["d/variant-1"]["rubric"])


@pytest.mark.slow
def test_a_paraphraser_that_fails_loses_no_other_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Garbage, a crash, a program that asks for time, a hang, no text: each is counted, and the last is said."""
    rewords = python_agent(
        tmp_path,
        """
match q["request_id"]:
    case "a": print("Certainly!")
    case "b": sys.exit("no model")
    case "c": sys.exit(75)
    case "d": print('{"text": 7}')
    case "e": time.sleep(100) if q["variant"] == 2 else print('{"text": "Wo war Cleo?"}')
""",
    )

    found = made(panel(), "--exec", rewords, "--count", "2", "--timeout", "2", "--parallel", "3", code=1)

    assert "Wo war Cleo?" == found["e/variant-1"]["request"]["text"]
    assert [*"abcde", "e/variant-1"] == list(found)
    assert "9 variants are missing; the last answer: timeout (no answer in time)." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param(["--case", "z"], "has no case z", id="a case that is not there"),
        pytest.param(["--exec", "no-such-program"], "cannot be started", id="a program that is not there"),
        pytest.param(["--exec", "''"], "cannot be started", id="a program without a name"),
        pytest.param(["--count", "0"], "count", id="no variant"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is written."""
    assert 2 == run_command(["probes", "variants", panel(), "--write", "families.jsonl", *arguments])

    assert advice in capsys.readouterr().err
    assert not Path("families.jsonl").exists()


def results(model: str, *, knows_by_heart: str, fails: int = 0) -> str:
    """Results of 12 cases of two classes with four variants each; those of one class pass as written only."""
    names = [f"{capability}-{n}" for capability in ("refunds", "search") for n in range(12)]
    events = [
        {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{model} {name}{ending}",
            "service": "probes",
            "environment": "probes",
            "model_version": model,
            "capability": name.partition("-")[0],
            "request_id": name + ending,
            "started_at": "2026-11-01T00:00:00Z",
            "outcome": {"success": not (ending and name.startswith(knows_by_heart)) and number >= fails},
        }
        for number, name in enumerate(names)
        for ending in ("", *(f"/variant-{n}" for n in range(1, 5)))
    ]
    return str(write_events(Path(f"{model}.jsonl"), events))


def test_the_report_names_brittle_classes_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    """A class that passes as written and fails its variants; they count in no rate, no list and no number of cases."""
    runs = [results("old", knows_by_heart="nothing"), results("new", knows_by_heart="refunds", fails=1)]
    forms = [f"--write=report.{ending}" for ending in ("json", "md", "html", "txt")]

    assert 0 == run_command(["report", *runs, *forms])

    told = json.loads(Path("report.json").read_text(encoding="utf-8"))
    sentence = "Brittle, class refunds: 91.7 % pass as written and 0.0 % in variants, -91.7 points"
    assert (24, {"baseline": 24, "candidate": 23}) == (told["aggregate"]["cases"], told["aggregate"]["passed"])
    assert [{"task": "", "case": "refunds-0"}] == [{k: case[k] for k in ("task", "case")} for case in told["lost"]]
    assert [f"refunds-{n}" for n in range(1, 12)] == sorted(
        (case["case"] for case in told["brittle"]), key=lambda name: int(name[8:])
    )
    assert not told["flaky"]
    assert {"all", "capability:refunds", "capability:search"} == set(told["variants"])
    refunds, search = (told["variants"][f"capability:{name}"] for name in ("refunds", "search"))
    assert ({"baseline": 11, "candidate": 0}, 12) == (refunds["passed"], refunds["cases"])
    assert {"baseline": 12, "candidate": 12} == search["passed"]
    said = capsys.readouterr().out
    for text in (said, *(Path(f"report.{ending}").read_text(encoding="utf-8") for ending in ("md", "html", "txt"))):
        assert sentence in text
        assert "as written" in text
        assert "Brittle, class search" not in text
        assert "Variants of 24 cases are compared with these alone and count nowhere else." in text


def test_a_version_that_solves_its_variants_is_not_called_brittle(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is one that fails a case in every form; a suite whose own names end alike has no variants."""
    runs = [results("old", knows_by_heart="search"), results("new", knows_by_heart="nothing", fails=6)]

    assert 0 == run_command(["report", *runs, "--output", "json"])

    told = json.loads(capsys.readouterr().out)
    assert ([], []) == (told["brittle"], [each for each in told["reasons"] if each.startswith("Brittle")])
    lonely = [
        write_events(
            Path(f"lonely-{model}.jsonl"),
            [
                event
                for line in Path(f"{model}.jsonl").read_text(encoding="utf-8").splitlines()
                if "/" in (event := json.loads(line))["request_id"]
            ],
        )
        for model in ("old", "new")
    ]
    assert 0 == run_command(["report", *map(str, lonely), "--output", "json"])
    told = json.loads(capsys.readouterr().out)
    assert (96, {}) == (told["aggregate"]["cases"], told["variants"])


def test_a_family_goes_from_the_panel_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`probes variants`, `probes run`, `report`: an agent that knows one wording by heart is found out."""
    made(panel(), "--case", "a", "--count", "3")
    agent = python_agent(tmp_path, "print(json.dumps({'success': '4711' in q['request']['text']}))")
    for model in ("m-1", "m-2"):
        assert 0 == run_command(["probes", "run", "families.jsonl", "--model", model, "--exec", agent])

    assert 0 == run_command(["report", "probes-m-1.jsonl", "probes-m-2.jsonl"])

    said = capsys.readouterr().out
    assert "Brittle, 1 case that passed as written, while half of the variants or more failed:\n    a (refunds" in said


@pytest.mark.slow
def test_a_large_panel_is_refilled_in_one_go() -> None:
    """Ten thousand cases, each with values that only a few others have."""
    lines = [{"request_id": f"p{n}", "text": f"Refund {n} to Client{n:05d}abc now."} for n in range(10_000)]

    assert 20_000 == len(made(panel(lines), "--count", "1"))


def test_no_more_is_drawn_than_is_wanted() -> None:
    """A hundred thousand cases would wait for texts that nobody asked for."""
    (case,) = read_panel(panel([CASES[3]]), Config())
    texts = iter([{"text": "Where?"}, {"text": "Where?"}, {"text": "Whither?"}, {"text": "left"}])

    assert ["d", "d/variant-1", "d/variant-2"] == [line["request_id"] for line in family(case, texts, 2)]
    assert [{"text": "left"}] == list(texts)


def test_few_values_make_few_variants(tmp_path: Path) -> None:
    """None comes twice."""
    assert 3 * (1 + 2) == len(made(write_panel(tmp_path / "few.jsonl", ["7", "8", "9"]), "--count", "9"))
