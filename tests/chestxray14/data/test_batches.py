"""The images of a step are the same however many share them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import awb
from examples.chestxray14.data.dataset import EpochBatches, random_key


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**40))
def test_parts_share_the_images_of_a_step(n_images: int, images: int, parts: int, seed: int) -> None:
    step = images * parts
    if n_images < step:
        with pytest.raises(awb.AWBError, match="do not fill one batch"):
            EpochBatches(n_images, step, parts, seed)
        return
    alone, shared = list(EpochBatches(n_images, step, 1, seed)), list(EpochBatches(n_images, step, parts, seed))
    assert len(alone) == n_images // step
    assert [list(itertools.chain(*shared[i : i + parts])) for i in range(0, len(shared), parts)] == alone
    rows = np.concatenate(alone)
    assert len(np.unique(rows)) == len(rows)
    assert rows.max() < n_images


def test_a_step_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="10 images cannot be shared evenly by 4"):
        EpochBatches(100, 10, 4, 0)


def test_epochs_differ_and_keys_are_the_same_everywhere() -> None:
    one, two = (list(EpochBatches(20, 5, 1, random_key(0, "all", epoch))) for epoch in (0, 1))
    assert one != two
    assert random_key(0, "all", 0) == 6311713087637637
