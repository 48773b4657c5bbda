"""The commands, from a recipe's name to tables; and what they refuse."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from awb.cli import main as awb_main
from awb.study import Split, auroc, macro, read_labels, read_predictions
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import load_study
from examples.chestxray14.evaluation.evaluated_run import read_evaluated
from examples.chestxray14.recipes.data_settings import SplitSettings
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.runs.folder import RunFolder, identity

TINY = ["data.image_size=32", "data.batch_size=8", "stages.*.epochs=1", "stages.0.frozen.backbone=1"]


def train(phantoms: Path, run: Path, *more: str) -> int:
    settings = [word for setting in TINY for word in ("--set", setting)]
    data = ["--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    return main(["train", "tiny", str(run), *data, *settings, *more])


def evaluate(phantoms: Path, run: Path) -> int:
    return main(
        ["evaluate", str(run), "--data", str(phantoms / "data"), "--store", str(phantoms / "store"),
         "--replicates", "50"]
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command") / "run"
    assert train(phantoms, path) == 0
    return path


def test_a_run_holds_what_it_was_made_from(run: Path) -> None:
    for name in ("recipe.yaml", "split.csv.gz", "run.json", "steps.csv", "epochs.csv", "checkpoint.pt"):
        assert (run / name).is_file()
    assert Split.load(run / "split.csv.gz").checksum in (run / "MODEL_CARD.md").read_text()
    card = (run / "MODEL_CARD.md").read_text()
    for text in ("Not a medical device", "Label noise", "Subgroups", "Synthetic phantoms", "Intended use"):
        assert text in card


def test_evaluate_prints_what_its_files_say_to_awb_study(
    run: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(phantoms, run) == 0
    printed = capsys.readouterr().out
    first, *_ = printed.splitlines()
    assert first.startswith("SYNTHETIC phantoms")
    assert "split nested" in first
    # of 8 test patients no 5 have a finding, so there is no figure
    assert "fewer than 5 patients have it or have it not: Atelectasis, Cardiomegaly" in printed
    assert "nothing to evaluate: a figure needs 5 test patients who have a finding and 5 who have not" in printed
    assert "fewer than 5 patients have it" in (run / "MODEL_CARD.md").read_text()
    folder = run / "evaluation"
    labels = read_labels(folder / "labels-test.csv", group="patient")
    assert len(labels.classes) == 14
    probs = read_predictions(folder / "predictions-test.csv", labels)
    expected = float(macro(auroc(labels.labels, probs, undefined="skip")))
    files = [str(folder / f"{kind}-test.csv") for kind in ("predictions", "labels")]
    assert (
        awb_main(["study", "evaluate", *files, "--group", "patient", "--undefined", "skip", "--replicates", "50"]) == 0
    )
    assert f"{expected:.4g}" in capsys.readouterr().out


def test_other_labels_of_the_same_images_are_refused(
    run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The split is the same: it has no part in which finding an image has."""
    shutil.copytree(phantoms / "data", tmp_path / "data", ignore=shutil.ignore_patterns("images"))
    (labels,) = (tmp_path / "data").glob("Data_Entry*")
    text = labels.read_text()
    assert "|Mass" in text
    labels.write_text(text.replace("|Mass", "|Nodule", 1))
    data = ["--data", str(tmp_path / "data"), "--store", str(phantoms / "store")]
    lists = tmp_path / "lists"
    lists.mkdir()
    sets = Split.load(run / "split.csv.gz").sets
    for name in ("train", "validation", "test"):
        images = sets["test"] if name == "test" else sets[f"stage2/{name}"]
        (lists / name).write_text("\n".join(images))
    words = ["--lists", *(str(lists / name) for name in ("train", "validation", "test"))]
    settings = [word for setting in (*TINY, "data.split.name=lists") for word in ("--set", setting)]
    before = ["--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    assert main(["train", "tiny", str(tmp_path / "run"), *before, *words, *settings]) == 0
    assert main(["train", "tiny", str(tmp_path / "run"), *data, *words, *settings]) == 2
    assert re.search(r"is of another run \(labels was \w+, is \w+\)", capsys.readouterr().err)
    assert main(["evaluate", str(tmp_path / "run"), *data, *words]) == 2
    assert re.search(r"is of another run \(labels was \w+, is \w+\)", capsys.readouterr().err)


def test_a_test_set_of_one_patient_and_an_age_that_is_none_are_refused_before_training(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantoms / "data", tmp_path / "data", ignore=shutil.ignore_patterns("images"))
    (labels,) = (tmp_path / "data").glob("Data_Entry*")
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    of_first = [name for name in names if name.startswith(names[0][:-8])]
    rest = [name for name in names if name not in of_first]
    for name, images in (("train", rest[:60]), ("validation", rest[60:]), ("test", of_first)):
        (tmp_path / name).write_text("\n".join(images))
    data = ["--data", str(tmp_path / "data"), "--store", str(phantoms / "store"), "--set", "data.split.name=lists"]
    lists = ["--lists", *(str(tmp_path / name) for name in ("train", "validation", "test"))]
    assert main(["train", "tiny", str(tmp_path / "run"), *data, *lists]) == 2
    assert "the test set has 1 patient" in capsys.readouterr().err
    text = labels.read_text().splitlines()
    cells = text[1].split(",")
    cells[4] = "-3"
    labels.write_text("\n".join([text[0], ",".join(cells), *text[2:]]))
    assert main(["train", "tiny", str(tmp_path / "run"), *data, *lists]) == 2
    assert "age '-3'; expected years" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_predictions_are_those_of_the_weights_on_the_test_images(run: Path, phantoms: Path) -> None:
    """The network, its input and the sigmoid, written out."""
    import torch

    from examples.chestxray14.data.store import ImageStore
    from examples.chestxray14.recipes.schema import load_recipe
    from examples.chestxray14.training.networks import build_model

    recipe, folder = load_recipe(run / "recipe.yaml"), run / "evaluation"
    if not folder.exists():
        assert evaluate(phantoms, run) == 0
    model = build_model(recipe.model, 14, 32, 1).eval()
    model.load_state_dict(safetensors.torch.load_file(run / "weights.safetensors"))
    labels = read_labels(folder / "labels-test.csv", group="patient")
    store = ImageStore.open(phantoms / "store")
    grey = np.stack([store[name] for name in labels.images.tolist()])[:, None].repeat(3, 1) / 255
    mean, std = (np.array(values)[:, None, None] for values in (recipe.data.mean, recipe.data.std))
    with torch.no_grad():
        probs = model(torch.from_numpy((grey - mean) / std).float()).double().sigmoid().numpy()
    np.testing.assert_allclose(read_predictions(folder / "predictions-test.csv", labels), probs, atol=1e-5)


def test_a_finished_run_that_is_trained_again_keeps_its_weights_figures_and_card(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    assert train(phantoms, path) == 0
    assert evaluate(phantoms, path) == 0
    names = ("weights.safetensors", "epochs.csv", "MODEL_CARD.md", "SHA256SUMS")
    before = {name: (path / name).read_bytes() for name in names}
    assert train(phantoms, path) == 0
    assert {name: (path / name).read_bytes() for name in names} == before
    read_evaluated(path)
    # an evaluation that is refused leaves the one before
    assert main(["evaluate", str(path), "--data", str(phantoms / "data"), "--store", str(tmp_path)]) == 2
    read_evaluated(path)


def test_a_run_is_explained(run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next(path.name for path in sorted((phantoms / "data" / "images").iterdir()))
    words = ["explain", str(phantoms / "store"), str(tmp_path / "maps"), "--run", f"tiny={run}"]
    assert main([*words, "--image", image, "--finding", "Mass"]) == 0, capsys.readouterr().err
    assert (tmp_path / "maps" / "overlays.png").is_file()


def test_another_recipe_in_the_same_folder_is_refused(
    run: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(phantoms, run, "--set", "training.seed=1") == 2
    assert "is of another run (recipe was" in capsys.readouterr().err


def test_damaged_weights_are_refused(
    run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("recipe.yaml", "run.json", "split.csv.gz"):
        (copy / name).write_bytes((run / name).read_bytes())
    assert evaluate(phantoms, copy) == 2
    assert "the run has not finished" in capsys.readouterr().err
    with safetensors.safe_open(run / "weights.safetensors", "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state.pop("classifier.1.bias")
    safetensors.torch.save_file(state, copy / "weights.safetensors", metadata)
    assert evaluate(phantoms, copy) == 2
    assert "missing classifier.1.bias" in capsys.readouterr().err


def test_sets_that_overlap_are_refused_unless_the_recipe_allows_it(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = ("--set", "data.split.name=report")
    assert train(phantoms, tmp_path / "run", *report) == 2
    error = capsys.readouterr().err
    assert "'stage2/test' shares" in error
    assert "name the pairs that may overlap in data.split.allow_overlap" in error
    pairs = [[f"stage1/{a}", b] for a, b in (("train", "stage1/validation"), ("train", "stage2/validation"),
             ("train", "stage2/test"))] + [["stage2/train", f"stage{i}/validation"] for i in (1, 2)]  # fmt: skip
    allowed = f"data.split.allow_overlap={pairs}".replace("'", "")
    assert train(phantoms, tmp_path / "run", *report, "--set", allowed) == 0
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "Sets share patients" in card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "data.imagesize=3"], "nothing is at 'imagesize'; did you mean 'image_size'"),
        (["--set", "data"], "expected KEY=VALUE"),
        (["--set", "data.split.name=lists"], "belong to the split `lists`"),
        (["--set", "data.batch_size=500"], "do not fill one batch of 500"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], message: str, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(phantoms, tmp_path / "run", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "tiny", "out", "--checkpoint-every", "0"], "0: expected a whole number, at least 1"),
        (["train", "tiny", "out", "--workers", "-1"], "-1: expected a whole number, at least 0"),
        (["reproduce", "out", "--jobs", "two"], "two: expected a whole number, at least 1"),
        (["reproduce", "out", "--replicates", "1"], "1: expected a whole number, at least 40"),
        (["reproduce", "out", "--tflops", "0"], "0: expected a number above 0"),
    ],
)
def test_a_number_that_means_nothing_is_refused(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--data", "nowhere", "--store", "nowhere"])
    assert message in capsys.readouterr().err


def test_data_that_are_not_there_are_said_before_any_cell(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", str(tmp_path / "out"), "--cells", "tiny", "--data", str(phantoms / "data")]
    assert main([*words, "--store", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr()
    assert "is not a finished image store" in said.err
    assert "begins" not in said.out
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(
    run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["--cells", "tiny", "--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    words += ["--set", "data.image_size=32"]
    assert main(["reproduce", str(tmp_path / "file" / "out"), *words]) == 2
    assert f"error: {tmp_path / 'file' / 'out'}: Not a directory" in capsys.readouterr().err
    for command in (
        lambda: train(phantoms, tmp_path / "file"),
        lambda: main(["reproduce", str(tmp_path / "file"), *words]),
        lambda: main(["prepare", str(phantoms / "data"), str(tmp_path / "file")]),
        lambda: main(["prepare", str(tmp_path / "file"), str(tmp_path / "store"), "--synthetic", "1"]),
    ):
        assert command() == 2
        assert f"error: {tmp_path / 'file'} is a file; give a folder" in capsys.readouterr().err


def test_a_store_smaller_than_the_recipe_s_image_is_refused_unless_that_is_agreed(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = phantoms / "store"
    said = f"tiny takes images of 48 pixels, and those in {store} have 32: prepare a store with --size 48, or agree"
    data = ["--data", str(phantoms / "data"), "--store", str(store)]
    larger = ["--set", "data.image_size=48"]
    assert train(phantoms, tmp_path / "run", *larger) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["reproduce", str(tmp_path / "out"), "--cells", "tiny", *data, *larger]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    cropped = ["--set", "data.resize=48", "--set", "data.image_size=32"]
    assert train(phantoms, tmp_path / "run", *cropped) == 2
    assert said in capsys.readouterr().err
    assert train(phantoms, tmp_path / "run", *larger, "--set", "data.enlarge=true") == 0
    assert "enlarge: true" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_a_run_that_was_begun_with_a_smaller_store_goes_on(phantoms: Path, tmp_path: Path) -> None:
    """In an earlier version nobody had to agree that images are enlarged."""
    larger = "data.image_size=48"
    recipe = find_recipe("tiny", read_overrides([*TINY, larger]))
    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    RunFolder(tmp_path / "run").begin(recipe, study, identity(recipe, study) | {"processes": "1"})
    assert train(phantoms, tmp_path / "run", "--set", larger) == 0


def test_a_run_is_not_compared_with_itself(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run), f"{run}/../{run.name}"]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_a_recipe_that_is_not_there_is_answered_with_the_nearest(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(phantoms / "data"), "--store", str(phantoms / "store")]
    assert main(["train", "densenet121-last-lka-bce-focal", str(tmp_path / "run"), *data]) == 2
    assert "did you mean 'densenet121-last-lka-bce_focal'" in capsys.readouterr().err


def test_a_validation_set_of_one_label_does_not_end_a_training(phantoms: Path, tmp_path: Path) -> None:
    (labels,) = (phantoms / "data").glob("Data_Entry*")
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    rows = (f"{name},{name[10:16]},{int(i < 70)}" for i, name in enumerate(names))
    (tmp_path / "own.csv").write_text("path,patient,Mass\n" + "\n".join(rows))
    for name, images in (("train", [*names[:50], *names[70:]]), ("validation", names[50:60]), ("test", names[60:70])):
        (tmp_path / name).write_text("\n".join(images))
    lists = [str(tmp_path / name) for name in ("train", "validation", "test")]
    pairs = [[f"{stage}/train", held] for stage in ("stage1", "stage2")
             for held in ("stage1/validation", "stage2/validation", "test")]  # fmt: skip
    words = ["--table", str(tmp_path / "own.csv"), "--lists", *lists, "--set", "data.split.name=lists",
             "--set", f"data.split.allow_overlap={pairs}".replace("'", "")]  # fmt: skip
    assert train(phantoms, tmp_path / "run", *words) == 0
    assert ",nan," in (tmp_path / "run" / "epochs.csv").read_text()


@pytest.mark.slow
def test_a_reader_that_has_had_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "examples.chestxray14", "audit"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_own_findings_are_named_in_the_first_line(phantoms: Path, tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    (labels,) = (phantoms / "data").glob("Data_Entry*")
    names = [line.split(",")[0] for line in labels.read_text().splitlines()[1:]]
    table.write_text(
        "path,patient,sex,Mass,Scar\n" + "".join(f"{n},{n},{i % 2},0,{i % 2}\n" for i, n in enumerate(names))
    )
    split = SplitSettings(name="nested", seed=0, allow_overlap=())
    assert load_study(tmp_path, phantoms / "store", split, table=table).headline().endswith("; findings Mass, Scar")
