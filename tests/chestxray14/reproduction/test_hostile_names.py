"""Names that are programs, links or tables: wherever they are written, they are text."""

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
import yaml

from awb.study import LabelTable
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.evaluation.evaluated_run import read_evaluated
from examples.chestxray14.files.checksums import read_sums, write_sums
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.page import to_html
from examples.chestxray14.reproduction.report import write_report
from tests.chestxray14.small_runs import tiny_recipe
from tests.test_markup import Page

# one for each kind of place that it would have to break out of
FINDINGS = ("<script>alert(1)</script>", "[x](javascript:alert(1))", "a|b/../c", "$x^$", "Pleural_Thickening")
RARE = "<img src=x onerror=alert(2)>"  # too few patients for a figure: named in notes
VIEWS = ("<b onmouseover=alert(3)>", "`_*PA*_`")
RECIPE = "a</b><script>alert(4)</script>\n\n![x](http://a.b/c.png)"
STAGE = "```\n<script>alert(5)</script>/all"
FOLDER = "<svg onload=alert(6)>"


@pytest.fixture(scope="module")
def hostile(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """A cell on a table of hostile names, beside a folder of another run."""
    folder = tmp_path_factory.mktemp("hostile")
    (labels,) = (many / "data").glob("Data_Entry*")
    write_table(folder / "own.csv", read_data_entry(labels))
    content = tiny_recipe(stages__0__epochs=1, stages__0__frozen={}).model_dump(mode="json")
    first, last = content["stages"]
    content |= {"name": RECIPE, "stages": [first, last | {"name": STAGE}]}
    (folder / "cell.yaml").write_text(yaml.safe_dump(content))
    output = Output(folder / "out")
    (output.path / "runs" / FOLDER).mkdir(parents=True)
    words = ["--data", str(many / "data"), "--store", str(many / "store"), "--table", str(folder / "own.csv")]
    words += ["--cells", str(folder / "cell.yaml"), "--replicates", "50"]
    assert main(["reproduce", str(output.path), *words]) == 0
    return output


def write_table(path: Path, table: LabelTable) -> None:
    assert table.groups is not None
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient", "view", *FINDINGS, RARE))
        for i, (image, patient) in enumerate(zip(table.images.tolist(), table.groups.tolist(), strict=True)):
            labels = [(i // 3 + k) % 2 for k in range(len(FINDINGS))]
            writer.writerow((image, patient, VIEWS[i % 2], *labels, int(i == 0)))


def require_harmless(page: Page, *names: str) -> None:
    assert not page.tags & {"script", "svg"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, value in page.attributes if re.match(r"\s*(javascript|http|data):(?!image/)", value)]
    text = " ".join(page.text.split())
    for name in names:
        assert " ".join(name.split()) in text


@pytest.mark.slow
def test_the_report_shows_every_name_as_text(hostile: Output) -> None:
    page = Page((hostile.path / "report.html").read_text(encoding="utf-8"))
    require_harmless(page, *FINDINGS, *VIEWS, RARE, STAGE, FOLDER)
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in sources)
    identities = [value for name, value in page.attributes if name == "id"]
    assert len(identities) == len(set(identities))
    assert all(re.fullmatch(r"[\w-]+", identity) for identity in identities)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "names"),
    [("MODEL_CARD.md", (*FINDINGS, RECIPE, STAGE)), ("evaluation/evaluation.md", (*FINDINGS, *VIEWS))],
)
def test_a_run_s_own_pages_show_every_name_as_text(hostile: Output, file: str, names: tuple[str, ...]) -> None:
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py, a CommonMark renderer, is not installed")
    text = (hostile.run("cell").path / file).read_text(encoding="utf-8")
    github_s = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    require_harmless(Page(github_s.render(text)), *names)
    if file != "MODEL_CARD.md":  # whose fences are GitHub's
        require_harmless(Page(to_html(text)), *names)


@pytest.mark.slow
def test_files_of_numbers_hold_the_names_themselves(hostile: Output) -> None:
    """No reader of theirs takes them for anything else, and `awb study` finds its columns."""
    run = read_evaluated(hostile.run("cell").path)
    assert run.test.classes == (*FINDINGS, RARE)
    assert sorted(set(run.test.columns["view"].tolist())) == sorted(VIEWS)


@pytest.mark.slow
def test_so_does_the_report_of_an_evaluation_that_was_written_before_names_were_escaped(
    hostile: Output, source: StudySource, tmp_path: Path
) -> None:
    shutil.copytree(hostile.path / "runs", tmp_path / "runs")
    output, table = Output(tmp_path), hostile.path.parent / "own.csv"
    run = output.run("cell")
    old = f"split nested; findings {', '.join(FINDINGS)}\n\n| class |\n| --- |\n| {RARE} |\n"
    (run.evaluation / "evaluation.md").write_text(old, encoding="utf-8")
    write_sums(run.sums, read_sums(run.sums))  # as it was signed
    cells = find_cells([str(hostile.path.parent / "cell.yaml")])
    report = write_report(output, cells, StudySource(source.folder, source.store, table), 50)
    assert old.splitlines()[0] in Page(report.page.read_text(encoding="utf-8")).text
    require_harmless(Page(report.page.read_text(encoding="utf-8")), *FINDINGS, RARE)


@pytest.mark.slow
def test_compare_shows_run_folders_as_text(hostile: Output, tmp_path: Path) -> None:
    folders = [tmp_path / FOLDER, tmp_path / "[y](javascript:alert(7))"]
    for folder in folders:
        shutil.copytree(hostile.run("cell").path, folder)
    words = ["--replicates", "50", "--out", str(tmp_path / "out.md")]
    assert main(["compare", *map(str, folders), *words]) == 0
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    require_harmless(Page(to_html(text)), *FINDINGS, *(folder.name for folder in folders))


@pytest.mark.slow
def test_explain_shows_models_as_text_and_writes_files_that_every_system_can_hold(
    hostile: Output, stored: Path, many: Path, tmp_path: Path
) -> None:
    image = read_evaluated(hostile.run("cell").path).test.images.tolist()[0]
    out = tmp_path / "maps"
    words = ["--image", image, "--finding", *FINDINGS]
    assert main(["explain", str(many / "store"), str(out), f"--run=x={hostile.run('cell').path}", *words]) == 0
    names = [path.name for path in out.iterdir()]
    assert len(names) == len(FINDINGS) + 1
    assert all(re.fullmatch(r"[\w .,+=()-]+\.png", name) for name in names)

    (boxes,), (labels,) = (stored / "data").glob("BBox*"), (stored / "data").glob("Data_Entry*")
    words = ["--boxes", str(boxes), "--labels", str(labels), "--overlays", "0", "--replicates", "40"]
    model = f"--run={RECIPE}={stored / 'finished'}"
    assert main(["explain", str(stored / "store"), str(tmp_path / "boxed"), model, *words]) == 0
    text = (tmp_path / "boxed" / "localisation.md").read_text(encoding="utf-8")
    require_harmless(Page(to_html(text)), RECIPE)


def test_a_name_in_a_figure_is_no_formula() -> None:
    """matplotlib draws what is between two dollars as mathematics, and refuses it where it is none."""
    from examples.chestxray14.evaluation.figures import label_frequencies

    table = LabelTable(["a", "b"], (r"$\nonsense{$", "$5 to $10"), [[0, 1], [1, 0]])  # type: ignore[arg-type]
    target = io.BytesIO()
    figure = label_frequencies(table, r"$\title$")
    figure.savefig(target)
    assert target.tell() > 1000
