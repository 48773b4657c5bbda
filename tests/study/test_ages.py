"""Ages in years, as tables and DICOM write them; what no human can be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from awb import AWBError
from awb.study import age_in_years
from tests.test_cli import refusal, rows


@pytest.mark.parametrize(
    ("text", "age"),
    [("58", 58), ("58.0", 58), ("058Y", 58), ("58y", 58), ("018M", 1.5), ("052W", 0.9966), ("010D", 0.0274), ("0", 0),
     ("120", 120)],
)  # fmt: skip
def test_ages_are_read_in_any_spelling(text: str, age: float) -> None:
    assert age_in_years(text) == pytest.approx(age, abs=1e-4)


@pytest.mark.parametrize("text", ["411", "121", "-3", "old", "", "nan", "58X", "1e1", "inf"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(AWBError, match="expected years from 0 to 120"):
        age_in_years(text)


def test_bands_of_ages_are_made_of_any_spelling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ages = ["005Y", "018M", "58", "70.5"] * 10
    lines = "".join(f"{i},{i},{age},{i % 3 == 0}\n" for i, age in enumerate(ages))
    (tmp_path / "labels.csv").write_text(f"image,patient,Patient Age,Mass\n{lines}")
    scores = "".join(f"{i},{i % 7}\n" for i in range(40))
    (tmp_path / "predictions.csv").write_text(f"image,Mass\n{scores}")
    command = ["study", "evaluate", str(tmp_path / "predictions.csv"), str(tmp_path / "labels.csv")]
    command += ["--group", "patient", "--replicates", "20", "--subgroup", "Patient Age", "--bands", "0", "18", "65"]
    counts = {row["subgroup"]: row["n"] for row in rows(capsys, *command)}
    assert counts == {"0–<18": 20, "18–<65": 10, "≥65": 10}
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace("70.5", "411", 1))
    assert "image '3', column 'Patient Age': age '411'; expected years" in refusal(capsys, *command)
