from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.evals.files import events_of_results
from monitor.evals.formats.detect import read_content
from monitor.evals.formats.documents import LazyRows, decoded
from monitor.evals.formats.reading import Options
from tests.evals.real_tools import FILES
from tests.evals.suites import reported

CASES = FILES / "cases"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a file of results and says where it is."""

    def write(content: str | Sequence[Mapping[str, Any]], name: str = "results") -> str:
        path = tmp_path / name
        text = content if isinstance(content, str) else "".join(f"{json.dumps(row)}\n" for row in content)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def counted(result: Mapping[str, Any]) -> tuple[int, float, float]:
    """Cases, and how many pass before and after."""
    passed = result["aggregate"]["passed"]
    return result["aggregate"]["cases"], passed["baseline"], passed["candidate"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert 2 == run_command(["report", *map(str, arguments)])
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("before", "after", "arguments", "expected"),
    [
        ("01_status_a.jsonl", "01_status_b.jsonl", (), (50, 0, 50)),
        ("18_ls.csv", "18_ls.csv", (), (30, 15, 15)),
        ("02_scale_a.jsonl", "02_scale_b.jsonl", ("--pass-at", "4"), (50, 50, 10)),
        ("07_pf_a.json", "07_pf_b.json", (), (40, 26, 26)),
        ("07_real_promptfoo/c.json", "07_real_promptfoo/c2.json", (), (44, 32, 28)),
        ("07_real_promptfoo/c.json", "07_real_promptfoo/c.csv", (), (44, 32, 32)),
        ("07_real_promptfoo/c.yml", "07_real_promptfoo/c2.json", (), (44, 32, 28)),
        ("08_pf_v2_a.json", "08_pf_v2_b.json", (), (12, 12, 12)),
        ("09_results.json", "09_results.json", (), (40, 20, 20)),
        ("09_swe_report.json", "09_swe_report.json", (), (30, 15, 15)),
        ("09_swe_run.json", "09_swe_run.json", (), (3, 2, 2)),
        ("10_oai_a.jsonl", "10_oai_b.jsonl", (), (20, 10, 15)),
        ("11_task_id_a.jsonl", "11_task_id_b.jsonl", (), (30, 10, 20)),
        ("11_task_name_a.jsonl", "11_task_name_b.jsonl", (), (30, 10, 20)),
        ("12_a", "12_b", (), (60, 40, 44)),
        ("17_metr.jsonl", "17_metr.jsonl", ("--baseline-model", "GPT-4", "--candidate-model", "GPT-5"), (40, 20, 25)),
        ("18_deepeval.json", "18_deepeval.json", (), (20, 10, 10)),
        ("18_helm.jsonl", "18_helm.jsonl", (), (20, 20, 20)),
        ("18_ragas.csv", "18_ragas.csv", ("--metric", "faithfulness", "--pass-at", "0.7"), (30, 18, 18)),
    ],
)
def test_files_that_were_read_wrong(
    before: str,
    after: str,
    arguments: Sequence[str],
    expected: tuple[int, int, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cases and passes as the file's own totals, or a count by hand, say."""
    names = [CASES / name if (CASES / name).is_dir() else CASES / f"{name}.gz" for name in (before, after)]

    assert expected == counted(reported(capsys, *names, *arguments))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("02_scale_a.jsonl", "has scores from 5 to 5; say which is the lowest that passes, such as --pass-at"),
        ("15_dup.csv", "has several columns passed; rename or delete all but one of them"),
        ("16_words.csv", "say which is the lowest that passes, such as --pass-at 0.5"),
        ("18_ragas.csv", "name it with --column passed=NAME or --metric NAME. It has user_input, retrieved_contexts"),
    ],
)
def test_files_that_need_a_choice_say_which(name: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one sentence with the option."""
    assert sentence in refused(capsys, CASES / f"{name}.gz", CASES / f"{name}.gz")


def test_an_archive_with_broken_bytes_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The archive's directory is whole, what it points at is not."""
    assert "is a damaged archive" in refused(capsys, CASES / "zlib.eval", CASES / "zlib.eval")


def test_one_prompt_of_several_is_chosen_by_its_label(capsys: pytest.CaptureFixture[str]) -> None:
    """Prompt against prompt, on the same tests; the order of rows is nothing."""
    first, second = (str(CASES / f"07_pf_{side}.json.gz") for side in "ab")
    chosen = ("--baseline-model", "m [concise]", "--candidate-model", "m [verbose]")
    same = ("--baseline-model", "m [verbose]", "--candidate-model", "m [verbose]")

    assert (20, 20, 6) == counted(reported(capsys, first, second, *chosen))
    assert (20, 6, 6) == counted(reported(capsys, first, second, *same))


@pytest.mark.parametrize(
    "key", ["results", "rows", "data", "samples", "examples", "test_results", "cases", "simulations", "whatever"]
)
def test_a_document_may_call_its_list_anything(key: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The list whose entries say what passed is the one; the model above it is theirs, and totals are no case."""
    rows = [{"id": f"c{n}", "passed": n < 3} for n in range(5)]
    document = {"summary": {"accuracy": 0.6}, "config": {"model": "m-1"}, "log": [{"a": 1}], "run": {key: rows}}
    path = written(json.dumps(document))
    result = reported(capsys, path, path)

    assert (5, 3, 3) == counted(result)
    assert "m-1" == result["baseline"]["model"]


CASES_AB = [{"id": "a", "passed": True}, {"id": "b", "passed": False}]
OTHER_AB = [{"id": "a", "passed": False}, {"id": "b", "passed": False}, {"id": "c", "passed": True}]


@pytest.mark.parametrize(
    ("document", "arguments", "expected"),
    [
        ({"suites": [{"name": "x", "cases": CASES_AB}, {"name": "y", "cases": OTHER_AB}]}, (), (5, 2)),
        ({"run": {"parts": {"x": CASES_AB, "y": OTHER_AB}}}, (), (5, 2)),
        ({"suites": [{"name": "x", "cases": CASES_AB[:1]}, {"name": "y", "cases": CASES_AB[1:]}]}, (), (2, 1)),
        ({"trials": [{"name": "x", "cases": CASES_AB}, {"name": "y", "cases": OTHER_AB}]}, (), (3, 1.5)),
        ([{"id": n, "checks": [{"passed": n > 0}]} for n in range(3)], (), (3, 2)),
        (
            {"models": [{"name": "x", "cases": CASES_AB}, {"name": "y", "cases": OTHER_AB}]},
            ("--baseline-model", "y", "--candidate-model", "y"),
            (3, 1),
        ),
        ({f"case {row['id']}": row | {"passed": "yes" if row["passed"] else "no"} for row in OTHER_AB}, (), (3, 1)),
    ],
    ids=[
        "suites",
        "parts by name",
        "parts of one suite",
        "repeats",
        "number 0",
        "models",
        "cases that name themselves",
    ],
)
def test_groups_of_cases_are_distinguished_by_what_lists_them(
    document: object,
    arguments: Sequence[str],
    expected: tuple[int, float],
    *,
    written: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same id in two suites is two cases, in two trials one, and each model has its own."""
    path = written(json.dumps(document))

    assert (expected[0], expected[1], expected[1]) == counted(reported(capsys, path, path, *arguments))


def test_columns_that_differ_in_case_only_ask_for_one(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither wins by itself; one that you name does."""
    path = written("id,Passed,passed\na,yes,no\nb,yes,yes\n")

    assert "has the columns Passed and passed; name one of them with --column passed=NAME" in (
        refused(capsys, path, path)
    )
    assert (2, 1, 1) == counted(reported(capsys, path, path, "--column", "passed=passed"))


def test_a_document_on_one_line_teaches_as_one_on_many(written: Any) -> None:
    """Results are told from events by what they hold, not by their line ends."""
    document = {"model": "m", "suite": {"cases": [{"id": "a", "passed": True}, {"id": "b", "passed": False}]}}
    found = [
        list(events_of_results(written(json.dumps(document, indent=indent), f"{indent}.json"), Options()) or ())
        for indent in (None, 2)
    ]

    assert [2, 2] == [len(events) for events in found]


def test_cases_may_be_keys(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By id: an entry that says what passed, or just whether it did; rates of groups are no cases."""
    entries = written(json.dumps({"results": {"a": {"correct": True}, "b": {"correct": False}}}), "entries")
    bare = written(json.dumps({"groups": {"x": {"accuracy": 0.5}}, "results": {"a": True, "b": True}}), "bare")

    assert (2, 1, 2) == counted(reported(capsys, entries, bare))


@pytest.mark.parametrize(
    "fault",
    [
        *("hallucination", "toxicity_score", "latency_ms", "total_tokens", "self_harm", "failure_rate", "num_mistakes"),
        *("loss", "rmse", "brier_score", "bits_per_byte", "false_positive", "contradiction", "StereotypeMetric"),
    ],
)
def test_a_score_of_which_less_is_better_is_no_outcome(
    fault: str, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands beside it is, whichever comes first."""
    rows = [{"id": n, "scores": {fault: int(n < 1), "fit": int(n > 0)}} for n in range(4)]
    path, alone = written(rows), written([{"id": 1, "scores": {fault: 0.0}}], "alone")

    assert (4, 3, 3) == counted(reported(capsys, path, path))
    assert "no column says which case passed" in refused(capsys, alone, alone)
    without = written([{"id": 1, "scores": {f"no_{fault}": 1.0}}], "without")
    assert (1, 1, 1) == counted(reported(capsys, without, without))


def test_labels_beside_predictions_are_no_outcomes(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A data set of yes and no, as it was labelled and as the model answered."""
    path = written([{"id": n, "label": ("yes", "no")[n % 2], "prediction": "yes"} for n in range(4)])

    assert "no column says which case passed" in refused(capsys, path, path)


@pytest.mark.parametrize("values", [(0, 1), ("yes", "no"), (True, False)])
def test_a_data_set_beside_its_results_is_no_result(
    values: Sequence[object], written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its labels are the right answers; `correct` as a label is what a judge says."""
    written([{"id": n, "question": f"{n}?", "label": values[n % 2]} for n in range(4)], "data.jsonl")
    written([{"id": n, "passed": n > 0} for n in range(4)], "results.jsonl")
    judged = written([{"id": n, "label": ("correct", "incorrect")[n % 2]} for n in range(4)], "judged")

    assert (4, 3, 3) == counted(reported(capsys, tmp_path, tmp_path))
    assert (4, 2, 2) == counted(reported(capsys, judged, judged))


def test_scores_of_a_case_are_no_cases(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What a tool calls their list need not be known: their names come again in each case."""
    rows = [{"example_id": f"e{n}", "whatever": [{"name": "c", "score": int(n > 0)}]} for n in range(4)]
    path = written(json.dumps(rows))

    assert "It has example_id, whatever.c" in refused(capsys, path, path)
    assert (4, 3, 3) == counted(reported(capsys, path, path, "--metric", "c"))


def test_parts_of_a_suite_are_no_cases(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that name no case are attempts of what lists them only if these are many, and each has few."""
    rows = [{"passed": True}] * 3 + [{"passed": False}]
    asked = {part: [{**row, "question": f"{part} {n}?"} for n, row in enumerate(rows)] for part in ("easy", "hard")}

    path = written(json.dumps({"easy": rows, "hard": rows}), "parts.json")

    assert "no column says which case it is" in refused(capsys, path, path)
    path = written(json.dumps(asked), "asked.json")
    assert (8, 6, 6) == counted(reported(capsys, path, path))


def test_lists_of_ids_leave_what_broke_unknown(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty patch is a failure, an error or an unfinished instance is unknown."""
    document = {"resolved_ids": ["a", "b"], "unresolved_ids": ["c"], "empty_patch_ids": ["d"], "error_ids": ["e"]}
    path = written(json.dumps(document | {"submitted_ids": list("abcdef"), "completed_ids": list("abc")}))
    result = reported(capsys, path, path)

    assert (4, 2, 2) == counted(result)
    assert ["e", "f"] == [key["case"] for key in result["unpaired"]["unscored"]]


@pytest.mark.parametrize(
    ("passing", "failing"),
    [
        ("T", "F"),
        ("✓", "✗"),
        ("✅", "❌"),
        ("solved", "unsolved"),
        ("Yes", "No"),
        (True, False),
        ("1.0", "0.0"),
        ("Resolved", "unresolved"),
        ("PASS", "FAIL"),
        ("Correct", "Incorrect"),
        ("True", "False"),
        (1, 0),
        ("P", "F"),
        ("met", "not met"),
        ("achieved", "not achieved"),
        ("approved", "rejected"),
        ("fully correct", "incorrect"),
        ("CORRECT", "NOT_ATTEMPTED"),
        ("AC", "TLE"),
        ("✓", "x"),
        ("VRAI", "FAUX"),
        ("WAHR", "FALSCH"),
        ("ja", "nein"),
        ("bestanden", "nicht bestanden"),
        ("VERDADERO", "FALSO"),
        ("sí", "no"),
        ("VERO", "FALSO"),
        ("VERDADEIRO", "FALSO"),
        ("sim", "não"),
        ("WAAR", "ONWAAR"),
        ("PRAWDA", "FAŁSZ"),
        ("DOĞRU", "YANLIŞ"),
        ("ИСТИНА", "ЛОЖЬ"),
        ("はい", "いいえ"),
        ("正解", "不正解"),
        ("正确", "错误"),
        ("通过", "未通过"),
        ("ΑΛΗΘΗΣ", "ΨΕΥΔΗΣ"),
        ("ADEVĂRAT", "FALS"),
        ("ІСТИНА", "ХИБНІСТЬ"),
        ("نعم", "لا"),
        ("כן", "לא"),
        ("đúng", "sai"),
        ("benar", "salah"),
        ("correto", "incorreto"),
        ("OK", "NOK"),
        ("是", "否"),
    ],
)
def test_words_for_passed_and_failed(
    passing: object, failing: object, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Upper or lower case, words, marks, booleans as strings."""
    path = written([{"id": "a", "passed": passing}, {"id": "b", "passed": failing}])

    assert (2, 1, 1) == counted(reported(capsys, path, path))


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "NaN", "error", "Timed out", "cancelled", "skipped", "n/a", "OOM", "aborted", "pending", "limit"),
        *("agent_error", "Rate limit exceeded", "context_limit", "cancelled by user", "internal exception", "DNF"),
    ],
)
def test_what_is_no_outcome_is_unknown(value: object, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A word for a run that broke is neither passed nor failed."""
    path = written([{"id": "a", "passed": True}, {"id": "b", "passed": value}])
    result = reported(capsys, path, path)

    assert (1, 1, 1) == counted(result)
    assert ["b"] == [key["case"] for key in result["unpaired"]["unscored"]]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "null"])
def test_a_score_that_is_no_number_is_unknown(value: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing prints NaN, and infinity is no pass."""
    path = written('{"id": "a", "score": 1}\n{"id": "b", "score": ' + value + "}\n")

    assert (1, 1, 1) == counted(reported(capsys, path, path))


@pytest.mark.parametrize(
    "crash",
    [
        *({"status": "error"}, {"status": "timeout"}, {"state": "cancelled"}, {"errored": True}, {"error": "boom"}),
        *({"error": {"type": "RateLimit"}}, {"error": True}, {"errors": ["boom"]}, {"is_timeout": True}),
        *({"finish_reason": "error"}, {"status": "infra_failure"}, {"outcome": "errored"}, {"skipped": True}),
    ],
    ids=str,
)
def test_a_run_that_broke_is_unknown_whatever_its_score(
    crash: dict[str, Any], written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A status, a flag or an error beside the score says that the run did not end."""
    name, value = next(iter(crash.items()))
    well = {"str": {"status": "completed", "outcome": "pass", "finish_reason": "stop"}.get(name, ""), "bool": False}
    first = {"id": "a", "passed": True, name: well.get(type(value).__name__, type(value)())}
    path = written([first, {"id": "b", "passed": True, **crash}])

    assert ["b"] == [key["case"] for key in reported(capsys, path, path)["unpaired"]["unscored"]]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *(("AssertionError: 4 is not 5", 0), ("AssertionError: HTTP 500 instead of 200", 0), ("wrong tool", 0)),
        *(("HTTP 500", 1), ("openai.RateLimitError: 429", 1), ({"type": "api_error", "message": "x"}, 1)),
        *(("APITimeoutError: Request timed out.", 1), ("read ECONNRESET", 1), ("AuthenticationError: 401", 1)),
        *(("getaddrinfo ENOTFOUND api.x.ai", 1), ("FileNotFoundError: a.txt", 0), ("ModuleNotFoundError: x", 0)),
        *(("Request failed with status code 429", 1), ("Error code: 529 - {'type': 'error'}", 1), ("504 Gateway", 1)),
        *(("ThrottlingException: slow down", 1), ("429 RESOURCE_EXHAUSTED", 1), ("httpx.ReadTimeout", 1)),
        *(("litellm.ServiceUnavailableError", 1), ("ConnectionRefusedError: [Errno 111]", 1), ({"status": 429}, 1)),
        *(("Your credit balance is too low to access the API", 1), ("TimeoutError", 0), ("exit code 1", 0)),
        *(("NotFoundError: the model `x` does not exist", 1), ("wrong count: 429 rows", 0), ("expected 500, got 3", 0)),
        ("\n".join(["Traceback:", *["in f()"] * 50, "openai.RateLimitError: 429"]), 1),
        ("Traceback:\nin connection_error()\nValueError: 3", 0),
    ],
    ids=str,
)
def test_a_failure_is_unknown_only_where_the_model_could_not_be_asked(
    error: object, expected: int, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tools write down a failed assertion as an error too, and a service that gave no answer as a failure."""
    path = written([{"id": "a", "passed": True, "error": None}, {"id": "b", "passed": False, "error": error}])

    assert expected == len(reported(capsys, path, path)["unpaired"]["unscored"])


@pytest.mark.parametrize("error", ["No error", "OK", "Success", "None", "N/A", "false", 0, [], {}])
def test_no_error_in_words_is_none(error: object, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes something into every row; a pass beside it counts."""
    path = written([{"id": name, "passed": name == "a", "error": error} for name in "ab"])

    assert (2, 1, 1) == counted(reported(capsys, path, path))


@pytest.mark.parametrize(
    ("good", "bad", "arguments"),
    [
        ("0,9", "0,35", ("--pass-at", "0.5")),
        ("1,0", "0,0", ()),
        ("1,000", "0,950", ()),
        ("5/5", "3/5", ()),
        ("4 / 5", "3 out of 5", ("--pass-at", "0.8")),
        ("4 of 5", "2 of 5", ("--pass-at", "4")),
        ("85,5 %", "12,5 %", ("--pass-at", "0.8")),
    ],
)
def test_scores_may_have_a_decimal_comma_or_be_parts_of_a_whole(
    good: str, bad: str, arguments: Sequence[str], *, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As spreadsheets of half of Europe write them; a part is read as a ratio, or in its own scale."""
    path = written(f"id;score\na;{good}\nb;{bad}\n")

    assert (2, 1, 1) == counted(reported(capsys, path, path, *arguments))


@pytest.mark.parametrize(
    ("good", "bad", "pass_at"),
    [
        pytest.param("1,250", "980", "1000", id="thousands"),
        pytest.param("1,250.5", "1,100", "1200", id="thousands and a decimal point"),
        pytest.param("-1,250", "-2,000,000", "-2000", id="millions below nothing"),
        pytest.param("1,250", "0,875", "1", id="decimal commas with three digits"),
        pytest.param("1,250", "0,9", "1", id="a decimal comma with one digit beside three"),
    ],
)
def test_commas_part_thousands_where_none_of_the_column_does_anything_else(
    good: str, bad: str, pass_at: str, *, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups of exactly three digits, none of which begins with a bare 0, in every value that has a comma."""
    path = written(f"id;score\na;{good}\nb;{bad}\n")

    assert (2, 1, 1) == counted(reported(capsys, path, path, "--pass-at", pass_at))


def test_a_column_of_ones_with_three_decimals_passes(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that passes every case has no `0,875` that tells a decimal comma; beside 980, it is a thousand."""
    good, fair = written("id;score\na;1,000\nb;1,000\n"), written("id;score\na;1,000\nb;0,875\n", "fair.csv")
    large = written("id;score\na;1,000\nb;980\n", "large.csv")

    assert (2, 2, 1) == counted(reported(capsys, good, fair, "--pass-at", "0.9"))
    assert (2, 1, 1) == counted(reported(capsys, large, large, "--pass-at", "990"))


@pytest.mark.parametrize("pass_at", ["0.5", "75"])
def test_scores_of_two_scales_are_refused(pass_at: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever passes on the one scale fails or passes everything on the other; a run that scores nothing is on any."""
    rates, points = (
        written([{"id": n, "score": whole * n / 4} for n in range(5)], f"{whole}.jsonl") for whole in (1, 100)
    )
    nothing = written([{"id": n, "score": 0} for n in range(5)], "nothing")
    passed = written([{"id": n, "passed": n > 2} for n in range(5)], "passed")

    assert "have scores of up to 1 and 100; write both on one scale, or as pass and fail" in (
        refused(capsys, rates, points, "--pass-at", pass_at)
    )
    assert (5, 2, 0) == counted(reported(capsys, points, nothing, "--pass-at", "75"))
    assert (5, 2, 2) == counted(reported(capsys, passed, points, "--pass-at", "75"))


@pytest.mark.parametrize("scores", [{"new": 1}, {"new": 1, "style": 0}], ids=["one", "two"])
def test_both_runs_are_judged_by_the_same_score(
    scores: Mapping[str, int], written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scorer that is new in the candidate, or that the tool lists first there, is not compared with another one."""
    old = [{"id": n, "scores": {"facts": int(n > 2)}} for n in range(6)]
    new = [{"id": n, "scores": {**scores, "facts": int(n > 3)}} for n in range(6)]
    before, after = written(old, "before"), written(new, "after")

    assert (6, 3, 2) == counted(reported(capsys, before, after))
    assert (6, 2, 3) == counted(reported(capsys, after, before))


def test_a_success_of_the_run_does_not_judge_the_other_run(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one run shows that `success` is no verdict, the score counts in both."""
    before = written([{"id": n, "success": True, "score": int(n > 2)} for n in range(6)], "before")
    after = written([{"id": n, "success": n > 3, "score": 1} for n in range(6)], "after")

    assert (6, 3, 6) == counted(reported(capsys, before, after))


@pytest.mark.parametrize("column", ["success", "valid", "ok"])
def test_what_passes_beside_a_score_of_0_is_about_the_run(
    column: str, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer could be parsed, or the run ended; the score says whether it was right."""
    path = written([{"idx": n, column: True, "score": int(n > 2)} for n in range(6)])

    assert (6, 3, 3) == counted(reported(capsys, path, path))


@pytest.mark.parametrize("form", ["inspect", "lm_eval"])
def test_logs_of_tools_are_judged_by_the_score_that_both_have(
    form: str, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever they list first."""

    def log(names: Sequence[str]) -> Any:
        if form == "lm_eval":
            about = {"doc": {}, "filtered_resps": ["x"], "filter": "none", "metrics": names}
            return [{**about, "doc_id": n, "facts": int(n > 2), "new": 1.0} for n in range(6)]
        spec = {"task": "t", "model": "m", "scorers": [{"name": name} for name in names]}
        values = [{"facts": int(n > 2), "new": 1} for n in range(6)]
        samples = [{"id": n, "scores": {at: {"value": each[at]} for at in names}} for n, each in enumerate(values)]
        return json.dumps({"status": "success", "eval": spec, "samples": samples})

    before, after = written(log(["facts"]), "before"), written(log(["new", "facts"]), "after")

    assert (6, 3, 3) == counted(reported(capsys, before, after))


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "a", "passed": true, "passed": false}\n{"id": "b", "passed": true}\n',
        '[{"id": "a", "passed": true}, {"id": "b", "passed": true, "passed": false}]',
        '{"results": [{"id": "a", "score": 1}], "results": [{"id": "b", "score": 0}]}',
    ],
    ids=["line", "list", "lists"],
)
def test_two_values_of_a_key_are_refused(text: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Which of them counts would be a guess; the same value twice is none."""
    path, same = written(text), written('{"id": "a", "id": "a", "passed": true}\n{"id": "b", "passed": false}\n', "s")

    assert "in one object; delete one of them" in refused(capsys, path, path)
    assert (2, 1, 1) == counted(reported(capsys, same, same))


def test_a_row_with_more_cells_than_columns_is_refused(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A comma without quotes moves all that stands behind it: passed would be a piece of the text."""
    moved = written("id,question,passed\na,one,1\nb,two, 1,0\n")
    empty = written("id,passed,,\na,1,,\nb,0,,,\n", "empty.csv")

    told = "has 3 columns, but 4 cells in the row that begins with b; put text with a comma in quotes"
    assert told in refused(capsys, moved, moved)
    assert (2, 1, 1) == counted(reported(capsys, empty, empty))


def test_commas_in_names_are_no_delimiters(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What parts the columns is what gives a case and an outcome."""
    path = written("id;Question (a, b, or c, as asked);passed\na;1,2;1\nb;3,4;0\n")

    assert (2, 1, 1) == counted(reported(capsys, path, path))


def test_letters_with_accents_are_the_same_however_they_are_made_up(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Mac writes an é of a file's name as e and an accent."""
    before, after = (
        written([{"id": f"caf{letter}-{n}", "passed": n > 1} for n in range(3)], side)
        for side, letter in (("before", "\u00e9"), ("after", "e\u0301"))
    )

    assert (3, 1, 1) == counted(reported(capsys, before, after))


def test_yaml_may_have_cases_with_hyphens_as_keys(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As names of cases mostly are."""
    path = written("case-1: pass\ncase-2: fail\n", "cases.yaml")

    assert (2, 1, 1) == counted(reported(capsys, path, path))


def test_scores_of_thousands_need_the_lowest_that_passes(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A score of 1,250 is no pass by itself, and the sentence shows how it was read."""
    path = written("id;score\na;1,250\nb;980\n")

    assert 2 == run_command(["report", path, path])
    assert (
        "scores from 980 to 1250; say which is the lowest that passes, such as --pass-at 118" in capsys.readouterr().err
    )


def test_p_beside_i_is_partly_right(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of Inspect AI's grades: C, P, I and N."""
    path = written("".join(f"{name},{grade}\n" for name, grade in zip("#abcd", ("result", *"CPIN"), strict=True)))

    assert (4, 1, 1) == counted(reported(capsys, path, path))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"status": "success", "score": 0}, 0),
        ({"success": True, "score": 0}, 0),
        ({"state": "completed", "reward": 0.0}, 0),
        ({"result": "42", "is_correct": False}, 0),
        ({"correct": "B", "answer": "B", "passed": "no"}, 0),
        ({"Is Correct": "no", "label": "pass"}, 0),
        ({"isCorrect": True, "verdict": "fail"}, 1),
        ({"passed": True, "score": 0.4}, 1),
        ({"scores": {"judge": 1}, "output": "no"}, 1),
        ({"scores": [{"name": "judge", "score": 1}], "status": "failed"}, 1),
        ({"evaluation": {"correct": True}, "result": "wrong"}, 1),
        ({"task_success": False, "status": "success"}, 0),
        ({"judge_verdict": "CORRECT", "judge_score": 0}, 0),
        ({"judge_verdict": "CORRECT", "label": "no"}, 1),
    ],
    ids=str,
)
def test_which_column_is_the_outcome(
    row: dict[str, Any], expected: int, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verdict, else a score, else a status; a run that succeeded with score 0 has only run; an answer is nothing."""
    path = written([{"id": "a", **row}])

    assert (1, expected, expected) == counted(reported(capsys, path, path))


def test_answers_are_not_outcomes(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A column of answers is refused, with the option that names the right one."""
    path = written([{"id": "a", "result": "yes", "expected": "no"}, {"id": "b", "result": "no", "expected": "yes"}])

    assert "no column says which case passed" in refused(capsys, path, path)


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ([1, 5, 3], "from 1 to 5"),
        ([0, 87, 100], "from 0 to 100"),
        ([0, 10], "from 0 to 10"),
        ([-1, 1], "from -1 to 1"),
        ([-1.7e308, 1.7e308], "from -1.7e+308 to 1.7e+308"),
        ([0.2, 0.9], "from 0.2 to 0.9"),
        (["70%", "95%"], "from 0.7 to 0.95"),
    ],
)
def test_scores_of_another_scale_never_pass_by_themselves(
    scores: Sequence[Any], shown: str, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence shows the scale and asks for --pass-at."""
    path = written([{"id": str(number), "score": score} for number, score in enumerate(scores)])

    assert f"has scores {shown}; say which is the lowest that passes" in refused(capsys, path, path)


def test_percentages_pass_by_either_scale(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """90 % is 0.9 and 90."""
    path = written("id,score\na,95%\nb,70%\n")

    for mark in ("0.9", "90"):
        assert (2, 1, 1) == counted(reported(capsys, path, path, "--pass-at", mark))


def test_likert_words_are_refused(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody but the team knows whether a fair answer passes."""
    path = written([{"id": "a", "rating": "good"}, {"id": "b", "rating": "poor"}])

    assert "no column says which case passed" in refused(capsys, path, path)
    assert 'holds "good", "poor", which does not say what passed' in refused(
        capsys, path, path, "--column", "passed=rating"
    )


TABLE = "id,passed\r\ncafé,yes\r\nb,no\r\n"
LINES = '{"id": "café", "passed": true}\r\n{"id": "b", "passed": false}\r\n'


@pytest.mark.parametrize("text", [TABLE, LINES], ids=["table", "lines"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_letters_are_read_as_they_were_saved(
    encoding: str, text: str, written: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a mark at the start or without one; what is neither Unicode nor Windows-1252 is refused."""
    path = tmp_path / "saved"
    path.write_bytes(text.encode(encoding))
    same = written(LINES)
    result = reported(capsys, path, same)
    path.write_bytes(b"id,passed\n\x81\x8d,yes\n")

    assert (2, 1, 1) == counted(result)
    assert ["It is not UTF-8, so it was read as Windows-1252."] * (encoding == "cp1252") == [
        note for note in result["baseline"]["notes"] if "UTF-8" in note
    ]
    assert "is not UTF-8 text; save it as UTF-8." in refused(capsys, path, same)


@pytest.mark.parametrize("rows", [6, 20_000])
def test_half_a_character_costs_no_file(rows: int, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """JavaScript cuts a text within an emoji, and writes what is left of it."""
    path = written([{"id": f"\ud83d{n}", "passed": n > 2, "output": "\ud83d" * 20} for n in range(rows)])
    listed = written(
        json.dumps({"results": [json.loads(line) for line in Path(path).read_text().splitlines()]}), "list"
    )

    assert (rows, rows - 3, rows - 3) == counted(reported(capsys, path, listed))


def test_a_list_of_logs_is_no_case(written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspect AI writes the heads of all logs of a set beside them, each with the status of its run."""
    samples = [{"id": n, "scores": {"m": {"value": n > 2}}} for n in range(6)]
    spec = {"task": "t", "task_id": "x", "model": "m"}
    written(json.dumps({"status": "success", "eval": spec, "samples": samples}), "log.json")
    written(json.dumps({"log.json": {"status": "success", "eval": spec}}), "logs.json")
    listing = written(json.dumps({"log.json": {"eval_id": "e", "status": "success"} | spec}), "listing.json")

    assert (6, 3, 3) == counted(reported(capsys, tmp_path, tmp_path))
    assert "lists logs of Inspect AI and holds no case" in refused(capsys, listing, listing)


def test_a_first_sample_of_inspect_that_broke_hides_no_score(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no scores, and neither do the settings of old logs name any."""
    samples: list[Any] = [{"id": n, "scores": {"m": {"value": n > 2}}} for n in range(1, 6)]
    log = {"status": "success", "eval": {"task": "t"}, "samples": [{"id": 0, "error": {"message": "x"}}, *samples]}
    path = written(json.dumps(log), "log.json")

    assert (5, 3, 3) == counted(reported(capsys, path, path))


@pytest.mark.parametrize("name", ["HumanEval", "2a"])
def test_a_case_beside_numbers_is_a_case(name: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(json.dumps({"101": "pass", name: "fail", "102": "pass"}), "run.json")

    assert (3, 2, 2) == counted(reported(capsys, path, path))


@pytest.mark.parametrize("column", ["scores.word_count", "metrics.object_count_accuracy", "metrics.pass@n"])
def test_a_score_may_count(column: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts come after other scores, and may be the only one."""
    path = written("".join(f'{{"id": {n}, "{column}": {n % 2}}}\n' for n in range(6)), "run.jsonl")

    assert (6, 3, 3) == counted(reported(capsys, path, path))


def test_what_a_folder_counts_is_no_score(written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Harbor keeps the totals of a job, whose name is an id, beside a folder for each trial."""
    for n in range(6):
        (tmp_path / f"case-{n}__x").mkdir()
        rewards = {"verifier_result": {"rewards": {"reward": float(n > 2)}}}
        written(json.dumps({"id": f"u{n}", "task_name": f"case-{n}"} | rewards), f"case-{n}__x/result.json")
    written(json.dumps({"id": "job", "stats": {"n_trials": 6, "n_errors": 0}}), "result.json")

    assert (6, 3, 3) == counted(reported(capsys, tmp_path, tmp_path))


@pytest.mark.parametrize(
    "above",
    ["My results\r\n\r\n", "Model: gpt-5\r\nRun of May, the third\r\n", "# run 5\n", "\n\n", "sep=;\r\n", "a,b,c\n"],
    ids=repr,
)
def test_what_is_above_a_header_is_left_out(above: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Titles, comments, empty lines, and what a spreadsheet says of its delimiter."""
    table = TABLE.replace(",", ";") if above.startswith("sep") else TABLE
    path = written(above + table)

    assert (2, 1, 1) == counted(reported(capsys, path, path))


def test_a_header_below_a_title_is_found_by_the_columns_that_you_name(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where its own names say nothing."""
    path = written("Results, 5 May\nquestion no;how it went\n1;yes\n2;no\n")
    columns = ("--column", "case=question no", "--column", "passed=how it went")

    assert (2, 1, 1) == counted(reported(capsys, path, path, *columns))


def test_sums_and_nameless_rows_are_no_cases(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The last row of a spreadsheet, the first line of a log."""
    table = written("id,score\na,1\nb,0\nTotal,0.5\n", "table")
    lines = written([{"accuracy": 0.5, "n": 2}, {"id": "a", "accuracy": 1}, {"id": "b", "accuracy": 0}], "lines")
    result = reported(capsys, table, lines)

    assert (2, 1, 1) == counted(result)
    assert "Left out, because they are totals: Total." in result["baseline"]["notes"]
    assert "1 rows name no case and are left out." in result["candidate"]["notes"]


def test_a_rate_at_the_end_of_a_sheet_is_no_case(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is called; a case that has such a name passes or fails."""
    rows = "id,category,passed\na,x,TRUE\nb,x,FALSE\ntotal_cost,x,TRUE\n"
    path = written(f"{rows}Overall accuracy,,66.7%\n")
    result = reported(capsys, path, path)

    assert (3, 2, 2) == counted(result)
    assert "Left out, because they are totals: Overall accuracy." in result["baseline"]["notes"]


def test_a_rate_of_each_case_is_its_score(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Suites that repeat a case write how often it passed."""
    path = written("task_id,n_runs,pass_rate\na,4,1.0\nb,4,0.5\nc,4,0\n")

    assert (3, 1, 1) == counted(reported(capsys, path, path))


def test_the_case_is_what_both_runs_share(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A random id loses against the question, and a task that many rows share loses against the id."""
    rows = [
        written([{"uid": f"{side}{n}", "question": f"What is {n}?", "passed": n > 1} for n in range(6)], f"q{side}")
        for side in "ab"
    ]
    tasks = [
        written([{"task_id": "sums", "id": f"c{n}", "passed": n > 1} for n in range(6)], f"t{side}") for side in "ab"
    ]

    assert (6, 4, 4) == counted(reported(capsys, *rows))
    assert (6, 4, 4) == counted(reported(capsys, *tasks))


def test_tables_of_a_folder_are_tasks_where_both_sides_have_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same ids in two files are two cases each; files of other names are repeats."""
    for side, names in (("a", ("sums", "roots")), ("b", ("sums", "roots")), ("c", ("run1", "run2"))):
        (tmp_path / side).mkdir()
        for name in names:
            (tmp_path / side / f"{name}.csv").write_text("id,passed\n1,1\n2,0\n", encoding="utf-8")
    apart = reported(capsys, tmp_path / "a", tmp_path / "b")
    together = reported(capsys, tmp_path / "a", tmp_path / "c")

    assert ((4, 2, 2), (2, 1, 1)) == (counted(apart), counted(together))


def test_files_that_are_named_as_repeats_are_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """run1 and run2 of a suite are not two suites."""
    for side in "ab":
        (tmp_path / side).mkdir()
        for name, passed in (("refunds-run1", True), ("refunds-run2", True), ("refunds_trial_3", False)):
            row = {"id": "a", "passed": passed}
            (tmp_path / side / f"{name}.jsonl").write_text(json.dumps(row), encoding="utf-8")
    result = reported(capsys, tmp_path / "a", tmp_path / "b")

    assert 1 == result["aggregate"]["cases"]
    assert {"tries": 3, "baseline": 0.0, "candidate": 0.0} == result["aggregate"]["all_tries"]
    assert 1 == result["aggregate"]["flaky"]


def test_a_folder_names_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options apply to the files that have the column; the others are named, and one at least has to have it."""
    (tmp_path / "notes.json").write_text('{"a": 1}', encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "other.csv").write_text("id,ok\n3,1\n", encoding="utf-8")
    (tmp_path / "sums.csv").write_text("id,won\n1,1\n2,0\n", encoding="utf-8")
    result = reported(capsys, tmp_path, tmp_path, "--column", "passed=won")

    assert (2, 1, 1) == counted(result)
    assert (
        "Left out, because they contain no readable results: empty.csv, notes.json, other.csv."
        in (result["baseline"]["notes"])
    )
    assert "has no column lost for passed" in refused(capsys, tmp_path, tmp_path, "--column", "passed=lost")


def test_tau2_simulations(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials are repeats, the agent's model is the model, and one without a reward is unknown."""
    simulations = [
        {"id": f"{task}-{trial}", "task_id": str(task), "trial": trial, "termination_reason": "user_stop"}
        | {"reward_info": {"reward": float(task > 0), "db_check": {"db_reward": 1.0}} if task < 3 else None}
        for task in range(4)
        for trial in range(2)
    ]
    info = {"user_info": {"llm": "user-1"}, "agent_info": {"llm": "agent-1"}, "num_trials": 2}
    path = written(json.dumps({"info": info, "tasks": [{"id": "0"}], "simulations": simulations}))
    result = reported(capsys, path, path)

    assert (3, 2, 2) == counted(result)
    assert ("agent-1", 6) == (result["baseline"]["model"], result["baseline"]["attempts"])


def test_terminal_bench_results(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The totals beside the list are those of the official harness."""
    results = [
        {"id": f"u{n}", "trial_name": f"t{n}.1-of-1", "task_id": f"t{n}", "is_resolved": n < 3, "failure_mode": "unset"}
        for n in range(5)
    ]
    path = written(json.dumps({"results": results, "n_resolved": 3, "n_unresolved": 2, "accuracy": 0.6}))

    assert (5, 3, 3) == counted(reported(capsys, path, path))


@pytest.mark.parametrize("name", ["gpt-x", "gpt-x/live"])
def test_bfcl_scores_name_only_failures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result file says which cases there were; without it the score file cannot be read."""
    score, result = (tmp_path / kind / name / f"BFCL_v3_simple_{kind}.json" for kind in ("score", "result"))
    for path, rows in (
        (score, [{"accuracy": 0.75, "correct_count": 3, "total_count": 4}, {"id": "simple_2", "valid": False}]),
        (result, [{"id": f"simple_{n}", "result": "[f()]"} for n in range(4)]),
    ):
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    read = reported(capsys, tmp_path, tmp_path)
    result.unlink()

    assert ((4, 3, 3), "gpt-x") == (counted(read), read["baseline"]["model"])
    assert "put the result file (BFCL_v3_simple_result.json) beside it" in refused(capsys, score, score)


def test_junit_xml(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is no failure, and a test that was skipped or not run no success; entities are refused."""
    path = written(
        '<testsuites><testsuite name="s"><testcase classname="a" name="1"/>'
        '<testcase classname="a" name="2"><failure message="no"/></testcase>'
        '<testcase classname="a" name="3"><error/></testcase><testcase classname="a" name="4"><skipped/></testcase>'
        '<testcase classname="a" name="5" status="notrun"/><testcase classname="a" name="6"><disabled/></testcase>'
        "</testsuite></testsuites>"
    )
    bomb = written('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><testsuites/>', "bomb")
    behind_a_comment = written(
        f'<?xml version="1.0"?><!--{" " * 2_000}--><!DOCTYPE a [<!ENTITY b "c">]><testsuites/>', "behind"
    )
    result = reported(capsys, path, path)

    assert (2, 1, 1) == counted(result)
    assert 4 == len(result["unpaired"]["unscored"])
    assert "declares a document type" in refused(capsys, bomb, bomb)
    assert "declares a document type" in refused(capsys, behind_a_comment, behind_a_comment)


def test_parquet_without_its_library_says_so(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Read where pyarrow is installed, otherwise one sentence."""
    path = written("PAR1nonsense")

    assert "Parquet" in refused(capsys, path, path)


def test_braintrust_rows_pair_by_their_question(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The id is drawn anew in each experiment; scores are named."""
    files = [
        written(
            [
                {"id": f"{s}{n}", "input": {"question": f"q{n}"}, "scores": {"Exact": n % 2, "Style": 0.5}}
                for n in range(4)
            ],
            s,
        )
        for s in ("x", "y")
    ]

    assert (4, 2, 2) == counted(reported(capsys, *files))
    assert (4, 4, 4) == counted(reported(capsys, *files, "--metric", "scores.Style", "--pass-at", "0.5"))


def test_a_score_of_inspect_with_parts_is_chosen_by_part(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A dictionary of values gives a score for each key; a sample that is marked invalid is left out."""
    samples = [
        {"id": n, "epoch": 1, "scores": {"judge": {"value": {"facts": "C", "style": int(n > 1)}}}} for n in range(3)
    ]
    samples[0]["invalidation"] = {"reason": "leaked"}
    spec = {"task": "t", "model": "m", "scorers": [{"name": "judge"}]}
    path = written(json.dumps({"status": "success", "eval": spec, "samples": samples}))
    result = reported(capsys, path, path, "--metric", "judge.style")

    assert (2, 1, 1) == counted(result)
    assert "1 samples are marked invalid and are left out." in result["baseline"]["notes"]
    assert "it has judge.facts, judge.style" in refused(capsys, path, path, "--metric", "judge")


def test_a_word_that_may_be_the_other_one_is_asked_for(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all that is understood passes, a word that is not may well mean failed: 100 % would be a guess."""
    path = written([{"id": "a", "passed": "yes"}, {"id": "b", "passed": "nope"}])

    assert 'passed holds "nope", which does not say what passed' in refused(capsys, path, path)


def test_an_x_beside_nothing_but_blanks_is_asked_for(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Some tick what passed with an x: 0 % would be a guess. Beside another word it is a failure."""
    ticked = written(
        [{"id": name, "Pass?": mark} for name, mark in zip("abcde", ["x", "", "X", None, ""], strict=True)]
    )
    assert 'Pass? holds "x", which does not say what passed' in refused(capsys, ticked, ticked)

    told = written([{"id": "a", "Pass?": "x"}, {"id": "b", "Pass?": ""}, {"id": "c", "Pass?": "ok"}])
    assert (2, 1, 1) == counted(reported(capsys, told, told))


def as_columns(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


NAMED = [
    {"case_id": "a", "passed": True, "subject": "x"},
    {"case_id": "b", "passed": None, "subject": "x"},
    {"case_id": "c", "passed": False, "subject": "y"},
]


@pytest.mark.parametrize(
    "document",
    [
        {name: {str(n): cell for n, cell in enumerate(cells)} for name, cells in as_columns(NAMED).items()},
        as_columns(NAMED),
        {"columns": list(NAMED[0]), "index": [0, 1, 2], "data": [list(row.values()) for row in NAMED]},
        {"0": NAMED[0], "1": NAMED[1], "2": NAMED[2]},
    ],
    ids=["columns by number", "columns as lists", "names and cells", "rows by number"],
)
def test_a_table_may_be_written_in_any_direction(
    document: Any, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pandas and Hugging Face datasets write their tables as JSON."""
    path = written(json.dumps(document))
    result = reported(capsys, path, path)

    assert (2, 1, 1) == counted(result)
    assert [{"task": "", "case": "b"}] == result["unknown"] + result["unpaired"]["unscored"]
    assert {"x", "y"} == set(result["capabilities"])


def test_ids_that_are_whole_numbers_pair_however_they_are_written(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """1, "1" and 1.0 are one case; a version such as 1.0 beside 1.1 stays what it is."""
    numbers = written([{"id": n, "passed": n > 2} for n in range(6)], "numbers")
    texts = written([{"id": str(n), "passed": n > 2} for n in range(6)], "texts")
    decimals = written("id,passed\n" + "".join(f"{n}.0,{int(n > 2)}\n" for n in range(6)), "decimals.csv")
    versions = written("id,passed\n1.0,1\n1.1,0\n2,0\n", "versions.csv")

    assert (6, 3, 3) == counted(reported(capsys, numbers, texts))
    assert (6, 3, 3) == counted(reported(capsys, numbers, decimals))
    assert ["1.0"] == [
        case["case"]
        for case in reported(capsys, versions, written("id,passed\n1.0,0\n1.1,0\n2,0\n", "later.csv"))["lost"]
    ]


def test_rows_without_an_id_pair_by_their_question(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """NaN and an empty text are no ids, and never one case that many rows share."""
    rows = [{"id": float("nan") if n % 2 else "", "question": f"What is {n}?", "passed": n > 2} for n in range(6)]
    path = written(rows)

    assert (6, 3, 3) == counted(reported(capsys, path, path))


@pytest.mark.parametrize("later", ["nightly-2", None], ids=["another name", "no name"])
def test_a_suite_that_is_named_otherwise_pairs_by_its_ids(
    later: str | None, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless an id is in several suites, which are then not to be told apart."""
    before = [{"suite": "nightly-1", "id": f"c{n}", "passed": n > 2} for n in range(6)]
    after = [{**row, "suite": later} for row in before]
    twice = [*before, {"suite": "weekly", "id": "c1", "passed": True}]

    assert (6, 3, 3) == counted(reported(capsys, written(before, "before"), written(after, "after")))
    assert "No case is in both runs" in refused(capsys, written(twice, "twice"), written(after, "after"))


def test_ids_of_a_report_yield_to_its_cases(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """terminal-bench lists what has no result among the unresolved, and only its cases say which those are."""
    results = [
        {"task_id": case, "is_resolved": resolved, "failure_mode": "unset"}
        for case, resolved in {"a": True, "b": False, "c": None}.items()
    ]
    path = written(json.dumps({"results": results, "resolved_ids": ["a"], "unresolved_ids": ["b", "c"]}))
    result = reported(capsys, path, path)

    assert (2, 1, 1) == counted(result)
    assert [{"task": "", "case": "c"}] == result["unpaired"]["unscored"]


def test_a_question_may_be_an_object_of_any_names(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Braintrust gives each run new ids, and the inputs are whatever the task takes."""
    sides = [
        written(
            json.dumps([{"id": f"{side}{n}", "input": {"order": n}, "scores": {"m": n > 2}} for n in range(6)]), side
        )
        for side in "ab"
    ]

    assert (6, 3, 3) == counted(reported(capsys, *sides))


def test_one_of_several_scores_is_named_as_the_tool_names_it(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether the score is the value of its name, or an object below it."""
    rows = [
        {"id": n, "scores": {"style": {"score": 1}, "facts": {"score": int(n > 2), "reason": "r"}}} for n in range(6)
    ]
    path = written(rows)

    assert (6, 3, 3) == counted(reported(capsys, path, path, "--metric", "facts"))
    assert (6, 3, 3) == counted(reported(capsys, path, path, "--metric", "scores.facts.score"))


def test_scores_of_tools_that_call_them_otherwise(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Opik's feedback scores; Inspect AI's table of samples, with the metadata that it flattens."""
    opik = written(
        json.dumps([{"dataset_item_id": n, "feedback_scores": [{"name": "equals", "value": n > 2}]} for n in range(6)])
    )
    inspect = written(
        "sample_id,id,epoch,metadata_category,score_match,error\n"
        + "".join(f"r{n},{n},1,{'sums' if n % 2 else 'roots'},{'C' if n > 2 else 'I'},\n" for n in range(6)),
        "samples.csv",
    )

    assert (6, 3, 3) == counted(reported(capsys, opik, opik))
    result = reported(capsys, inspect, inspect)
    assert (6, 3, 3) == counted(result)
    assert {"sums", "roots"} == set(result["capabilities"])


def test_a_document_without_cases_says_what_it_has(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty objects in it are no empty list of cases."""
    path = written(
        json.dumps({"stats": {"passes": 2}, "tests": [{"title": "a", "err": {}}, {"title": "b", "err": {}}]})
    )

    assert "no column says which case it is; name it with --column case=NAME. It has stats.passes" in (
        refused(capsys, path, path)
    )


INSPECT = {"status": "success", "eval": {"task": "t", "model": "m"}}
LM_EVAL = {"doc_id": 1, "doc": {}, "filter": "none", "metrics": ["acc"], "acc": 1.0}
PROMPTFOO = {"success": False, "vars": {"a": 1}, "promptIdx": 0}


@pytest.mark.parametrize(
    "document",
    [
        INSPECT | {"samples": ["x"]},
        INSPECT | {"samples": [{"id": 1, "scores": [1]}]},
        INSPECT | {"samples": [{"id": 1, "scores": {"m": {"value": "C"}}, "metadata": ["a"]}]},
        {"version": 3, "results": {"version": 3, "results": ["x"]}},
        {"version": 3, "results": {"version": 3, "results": [PROMPTFOO | {"response": "x"}]}},
        {"version": 3, "results": {"version": 3, "results": [PROMPTFOO | {"testCase": {"metadata": ["x"]}}]}},
        [LM_EVAL | {"filtered_resps": {"a": 1}}],
    ],
)
def test_a_log_of_another_shape_is_one_sentence(
    document: object, written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool of another version, or a hand: no traceback, whose exit code would be that of a closed gate."""
    path = written(json.dumps(document), "odd.json")

    assert "odd.json has another shape than its tool gives it" in refused(capsys, path, path)
    written([{"id": "a", "passed": True}], "fine.jsonl")
    assert (1, 1, 1) == counted(reported(capsys, tmp_path, tmp_path))


@pytest.mark.parametrize("option", ["--tier-column", "--capability"])
def test_metadata_that_no_case_has_is_said(option: str, written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo hid the hard tier, or every class, and a gate stood open; upper and lower case are one."""
    path = written([{"id": n, "passed": n > 0, "Level": n % 2} for n in range(4)])

    assert f"No case has dificulty ({option})" in refused(capsys, path, path, option, "dificulty")
    assert (4, 3, 3) == counted(reported(capsys, path, path, option, "level"))


@pytest.mark.parametrize("mark", ["nan", "inf"])
def test_a_lowest_score_that_is_no_number_is_refused(
    mark: str, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """No score reaches it, so both runs would fail everything."""
    path = written([{"id": n, "score": n} for n in range(4)])

    assert 2 == run_command(["report", path, path, "--pass-at", mark])
    assert "finite" in capsys.readouterr().err


def test_hidden_files_of_a_folder_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Editors and notebooks keep older copies there, which would count as repeats."""
    for name, passed in (
        ("run.jsonl", True),
        (".run.jsonl", False),
        (".ipynb_checkpoints/run-checkpoint.jsonl", False),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"id": "a", "passed": passed}) + "\n")

    assert (1, 1, 1) == counted(reported(capsys, tmp_path, tmp_path))


def test_a_named_score_that_promptfoo_does_not_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo left every case without a score."""
    path = CASES / "07_real_promptfoo" / "c.json.gz"

    assert "has no named score nosuch (--metric)" in refused(capsys, path, path, "--metric", "nosuch")


def test_an_archive_of_other_files_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spreadsheet is an archive too."""
    path = tmp_path / "results.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")

    assert "unpack it and name its folder, or save a spreadsheet as CSV" in refused(capsys, path, path)


LONG = [{"id": f"c{n}", "passed": n % 3 > 0, "question": f"{n:01000d}"} for n in range(2_000)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "rows_of"),
    [
        (LONG, lambda read: read),
        ({"model": "m-1", "results": LONG}, lambda read: read["results"]),
        ({"config": {"model": "m-1"}, "run": {"results": {"results": LONG}}}, lambda r: r["run"]["results"]["results"]),
    ],
    ids=["a list", "a list in an object", "a list deep in an object"],
)
def test_a_long_document_is_never_held_as_objects(
    document: Any, rows_of: Any, written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows are decoded when they are read, and say what they say in a file of lines."""
    text = json.dumps(document)
    path = written(text)
    result = reported(capsys, path, path)

    assert isinstance(rows_of(decoded(text.encode())), LazyRows)
    assert LONG == list(rows_of(decoded(text.encode())))
    assert (2_000, 1_333, 1_333) == counted(result)
    assert (None if document is LONG else "m-1") == result["baseline"]["model"]


def test_a_long_document_may_hold_numbers_that_json_does_not_have(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's writers write NaN."""
    path = written(json.dumps({"results": [{**row, "loss": float("nan")} for row in LONG]}))

    assert (2_000, 1_333, 1_333) == counted(reported(capsys, path, path))


def test_a_long_document_that_is_cut_off_is_one_sentence(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of it is counted."""
    path = written(json.dumps({"results": LONG})[:-10])

    assert "neither one JSON document nor JSON lines" in refused(capsys, path, path)


@pytest.mark.parametrize("models", [("a",), ("a", "b")])
def test_subjects_that_number_anew_are_apart_for_each_model(models: Sequence[str]) -> None:
    """The second model answers the same cases; it does not merge those of two subjects."""
    rows = [
        {"model": model, "subject": subject, "id": number, "correct": True}
        for model in models
        for subject in ("law", "biology")
        for number in range(2)
    ]

    attempts = read_content("r.json", json.dumps(rows).encode(), Options()).attempts

    assert 4 == len({attempt.key for attempt in attempts})


def test_one_case_for_each_model_is_not_numbered_anew() -> None:
    """That the class of a case is written for each model makes no task of it."""
    rows = [{"model": model, "subject": "law", "id": number, "correct": True} for model in "ab" for number in range(2)]

    attempts = read_content("r.json", json.dumps(rows).encode(), Options()).attempts

    assert {("", "0"), ("", "1")} == {(attempt.key.task, attempt.key.case_id) for attempt in attempts}
