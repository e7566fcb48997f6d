"""Data sets with one file damaged at random: each is read, or the damage is named.

A small version of ``benchmarks/mutations.py``, which repeats a case: ``--first N --cases 1``.
"""

from __future__ import annotations

import mutation_cases
import pytest
from all_forms import ALL_FORMS, Truth, small_truth
from mutation_cases import GOOD, run_case, run_cases, run_command, write_forms

from sceneparse.data.check import check
from sceneparse.data.dataset import open_dataset

CASES = 150
"""In about six seconds."""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("mutations")
    return list(run_cases(range(CASES), folder, {"small": small_truth()}, limit_s=90))


def test_nothing_but_a_fault_or_an_input_error_comes_of_it(results):
    assert [result for result in results if result.outcome not in GOOD] == []
    assert len({result.form for result in results}) > 0.9 * len(ALL_FORMS)
    named = [result for result in results if result.outcome == "named"]
    assert len(named) > CASES // 2  # most damage is seen
    assert sum(result.itself for result in named) > 0.8 * len(named)


def test_the_damage_is_undone(tmp_path, results):
    """Otherwise the cases would not be what their numbers say."""
    write_forms(tmp_path, {"small": small_truth()})
    sound = check(open_dataset(tmp_path / "small, index 8 bit"))
    assert sound.faults == ()


@pytest.fixture
def few_forms(monkeypatch) -> dict[str, Truth]:
    """Cases in two forms only, which are there at once."""
    monkeypatch.setattr(mutation_cases, "ALL_FORMS", {form: ALL_FORMS[form] for form in ("palette", "YOLO")})
    return {"small": small_truth()}


@pytest.mark.parametrize("first", [0, 1])
def test_the_command_line_says_the_same(tmp_path, few_forms, first):
    """Check and convert, of a case that is named; and the comparison sees the difference."""
    for folder in ("case", "same", "out"):
        (tmp_path / folder).mkdir()
    write_forms(tmp_path / "case", few_forms)
    write_forms(tmp_path / "same", few_forms)
    case = next(n for n in range(first, 100, 2) if run_case(n, tmp_path / "case").outcome == "named")
    assert run_command(case, tmp_path / "same", tmp_path / "out" / "plain", named=True) == ""
    assert "ends with 2" in run_command(case, tmp_path / "same", tmp_path / "out" / "plain", named=False)


def test_a_hang_is_seen(tmp_path, few_forms):
    hung, after = run_cases([3, 4], tmp_path, few_forms, limit_s=0.0)
    assert {hung.outcome, after.outcome} == {"hang"}
