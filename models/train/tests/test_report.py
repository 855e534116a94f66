"""Intervals against published values, and the table's arithmetic."""

import json

import pytest

from scargate_train import report


def test_wilson():
    low, high = report.wilson(8, 10)  # Newcombe 1998: 0.4902 to 0.9433
    assert low == pytest.approx(0.4902, abs=1e-4) and high == pytest.approx(0.9433, abs=1e-4)


def test_table(tmp_path):
    row = {"case": "P1", "myocardium": 0.8, "cavity": 0.9, "scar": 0.5, "slices": [[0.2, 0.5, 0.5], [0.6, 0.7, 0.9]], "scar_slice": 0.4, "transmurality": 9.0, "no_reflow": float("nan")}
    row |= {"no_reflow_called": 0, "fraction": 12.0, "fraction_ref": 10.0, "empty_slices": 3, "empty_with_ring": 1, "empty_scar_px": 0, "missed_slices": 0}
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"dense": {"cases": [row]}, "sam": {"cases": [row]}}))
    text = report.table([file])
    assert "bias | 2.0 (2.0 to 2.0; n 1)" in text and "1 of 1 (0.21 to 1.00)" in text and "1 of 3" in text
    assert "| P1 | 0.80 | 10.0 % | 12.0 %, 0.50 |" in report.cases([file])
    assert "DSC per slice with scar | 0.40 (0.40 to 0.40; n 1, 2 slices)" in text
    limited = report.table([file], [("dense", "dense", 15.0)])
    assert "bias | -10.0" in limited and "0 of 1" in limited
