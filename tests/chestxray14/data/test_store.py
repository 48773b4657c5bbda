"""A store holds what was decoded, says when it does not, and is finished after any interruption."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb import AWBError
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.decode import decode
from examples.chestxray14.data.store import CHUNK, ImageStore

N = 2 * CHUNK + 5  # three chunks, the last one short


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """Small noise, each image another."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(N):
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(folder / f"{i:03}.png")
    return {path.name: path for path in sorted(folder.iterdir())}


def build(images: dict[str, Path], folder: Path, size: int = 16) -> ImageStore:
    return build_store(images, folder, size, workers=1, progress=False)


def corrupt(path: Path) -> bytes:
    """Zeros instead of a file; the bytes that it had."""
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    return content


def test_a_store_gives_each_image_as_it_is_decoded(images: dict[str, Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store")
    assert (len(store), store.size, store.names) == (N, 16, tuple(images))
    for name in ("000.png", "064.png", f"{N - 1:03}.png"):
        np.testing.assert_array_equal(store[name], decode(images[name], 16))
        assert name in store
    store.verify()
    image = store["000.png"]
    image[:] = 0  # a copy
    assert store["000.png"].any()


@pytest.mark.slow
def test_processes_write_the_store_of_one_process(images: dict[str, Path], tmp_path: Path) -> None:
    one = build(images, tmp_path / "one")
    two = build_store(images, tmp_path / "two", 16, workers=2, progress=False)
    assert two.checksum == one.checksum
    assert (tmp_path / "two" / "pixels.u8").read_bytes() == (tmp_path / "one" / "pixels.u8").read_bytes()


def test_a_finished_store_is_opened_again_without_decoding(images: dict[str, Path], tmp_path: Path) -> None:
    checksum = build(images, tmp_path / "store").checksum
    for path in images.values():
        corrupt(path)
    assert build(images, tmp_path / "store").checksum == checksum


def test_another_size_another_list_and_other_files_are_refused(images: dict[str, Path], tmp_path: Path) -> None:
    build(images, tmp_path / "store")
    with pytest.raises(AWBError, match="an image store of 16 pixels, not 17"):
        build(images, tmp_path / "store", 17)
    with pytest.raises(AWBError, match=r"133 images, not of these 132 \(1 differ: 000.png\)"):
        build({name: path for name, path in images.items() if name != "000.png"}, tmp_path / "store")
    with pytest.raises(AWBError, match="another order"):
        build(dict(reversed(images.items())), tmp_path / "store")
    images["000.png"].write_bytes(images["000.png"].read_bytes() + b" ")
    with pytest.raises(AWBError, match="other lengths under the same names"):
        build(images, tmp_path / "store")


def test_a_folder_of_something_else_is_refused(images: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(AWBError, match="has other files"):
        build(images, tmp_path)
    with pytest.raises(AWBError, match="no images"):
        build({}, tmp_path / "store")
    with pytest.raises(AWBError, match=r"no file .* for image 'x.png'"):
        build({"x.png": tmp_path / "x.png"}, tmp_path / "store")


def test_all_unreadable_images_are_listed_in_one_error_and_only_their_chunks_are_done_again(
    images: dict[str, Path], tmp_path: Path
) -> None:
    bad = ("003.png", "070.png", "071.png")  # in the first chunk and in the second
    contents = {name: corrupt(images[name]) for name in bad}
    with pytest.raises(
        AWBError, match=r"(?s)3 of 133 images cannot be read.*003.png: .*070.png: .*071.png: "
    ) as caught:
        build(images, tmp_path / "store")
    assert "004.png" not in str(caught.value)
    listed = (tmp_path / "store" / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == list(bad)
    with pytest.raises(AWBError, match="not all decoded: run prepare again"):
        ImageStore.open(tmp_path / "store")

    for name, content in contents.items():
        images[name].write_bytes(content)
    last = images[f"{N - 1:03}.png"]
    expected, kept = decode(last, 16), corrupt(last)  # in the third chunk, which need not be read again
    store = build(images, tmp_path / "store")
    np.testing.assert_array_equal(store[last.name], expected)
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "index.json", "pixels.u8"]
    last.write_bytes(kept)
    assert store.checksum == build(images, tmp_path / "unbroken").checksum


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.rest)])
def test_a_store_is_finished_after_kill_9(images: dict[str, Path], tmp_path: Path, workers: int) -> None:
    many = tmp_path / "many"
    many.mkdir()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (500, 500), dtype=np.uint8)).save(tmp_path / "slow.png")
    for i in range(20 * CHUNK):  # links: a different image now and then, and enough work to be killed in
        os.link(tmp_path / "slow.png" if i % 4 else images[f"{i % N:03}.png"], many / f"{i:04}.png")
    script = tmp_path / "build.py"
    script.write_text(
        "from pathlib import Path\n"
        "from examples.chestxray14.data.build_store import build_store\n"
        "if __name__ == '__main__':\n"
        f"    images = {{path.name: path for path in sorted(Path({str(many)!r}).iterdir())}}\n"
        f"    build_store(images, {str(tmp_path / 'store')!r}, 16, workers={workers})\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, start_new_session=True)
    journal = tmp_path / "store" / "journal.jsonl"
    while process.poll() is None and (not journal.exists() or journal.read_text().count("\n") < 3):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was not done yet
    _wait_for_group_to_end(process.pid)  # its workers notice
    with pytest.raises(AWBError, match="not a finished image store"):
        ImageStore.open(tmp_path / "store")

    done = [json.loads(line)["chunk"] for line in journal.read_text().splitlines()]
    assert 3 <= len(done) < 20
    names = [f"{i:04}.png" for chunk in done for i in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    for name in names:  # were they read again, the second run would fail
        length = (many / name).stat().st_size
        (many / name).unlink()
        (many / name).write_bytes(bytes(length))
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
    store = ImageStore.open(tmp_path / "store", verify=True)
    slow = decode(tmp_path / "slow.png", 16)
    small = {name: decode(path, 16) for name, path in images.items()}
    for i, name in enumerate(store.names):
        np.testing.assert_array_equal(store[name], slow if i % 4 else small[f"{i % N:03}.png"])


def _wait_for_group_to_end(group: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError("worker processes outlived their parent")


def test_a_journals_torn_line_and_a_chunk_that_was_lost_are_done_again(images: dict[str, Path], tmp_path: Path) -> None:
    expected = build(images, tmp_path / "expected").checksum
    kept = corrupt(images["070.png"])
    with pytest.raises(AWBError):
        build(images, tmp_path / "store")
    images["070.png"].write_bytes(kept)
    with (tmp_path / "store" / "pixels.u8").open("r+b") as file:
        file.write(b"lost in a power cut")  # the first chunk
    with (tmp_path / "store" / "journal.jsonl").open("a") as file:
        file.write('{"chunk": 1, "sha2')
    assert build(images, tmp_path / "store").checksum == expected


@pytest.mark.parametrize("name", ["plan.json", "journal.jsonl", "pixels.u8"])
def test_one_flipped_bit_in_what_was_begun_is_noticed_or_mended(
    images: dict[str, Path], tmp_path: Path, name: str
) -> None:
    few = dict(list(images.items())[: CHUNK + 3])
    expected = build(few, tmp_path / "expected").checksum
    kept = corrupt(images["064.png"])
    with pytest.raises(AWBError):
        build(few, tmp_path / "begun")
    images["064.png"].write_bytes(kept)
    content = (tmp_path / "begun" / name).read_bytes()
    for bit in random.Random(0).sample(range(8 * min(len(content), CHUNK * 256)), 20):
        shutil.copytree(tmp_path / "begun", tmp_path / "flipped")
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped" / name).write_bytes(changed)
        try:
            assert build(few, tmp_path / "flipped").checksum == expected
            ImageStore.open(tmp_path / "flipped", verify=True)
        except AWBError:
            assert name == "plan.json"
        shutil.rmtree(tmp_path / "flipped")


def test_two_that_build_one_store_at_once_take_turns(images: dict[str, Path], tmp_path: Path) -> None:
    stores: list[ImageStore] = []
    threads = [threading.Thread(target=lambda: stores.append(build(images, tmp_path / "store"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 2
    stores[0].verify()


def test_damage_is_noticed(images: dict[str, Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store")
    pixels, index = store.folder / "pixels.u8", store.folder / "index.json"
    content = bytearray(pixels.read_bytes())
    content[70 * 16 * 16] ^= 1
    pixels.write_bytes(content)
    ImageStore.open(store.folder)
    with pytest.raises(AWBError, match=r"the pixels of 064.png to 127.png are not those"):
        ImageStore.open(store.folder, verify=True)
    pixels.write_bytes(content[:-1])
    with pytest.raises(AWBError, match="34,047 bytes; expected 34,048"):
        ImageStore.open(store.folder)
    text = index.read_text()
    for changed, words in (
        (text.replace("003.png", "00x.png"), "SHA-256"),
        (text.replace("version 1", "version 9"), "format"),
        (text[:-10], "damaged"),
    ):
        index.write_text(changed)
        with pytest.raises(AWBError, match=words):
            ImageStore.open(store.folder)
    with pytest.raises(AWBError, match="not a finished image store"):
        ImageStore.open(tmp_path)


def test_a_store_is_sent_to_a_worker_as_its_path(images: dict[str, Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store")
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)["005.png"], store["005.png"])


def test_images_that_are_not_in_the_store_are_named(images: dict[str, Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store")
    with pytest.raises(AWBError, match=r"has no image '1000.png'; did you mean '100.png'"):
        store["1000.png"]
    with pytest.raises(AWBError, match=r"1 of 2 images are not in the image store .*: x.png"):
        store.require(["000.png", "x.png"])
