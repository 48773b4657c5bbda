"""Whatever a file holds, `load_awb` loads it right or refuses it with AWBError, and leaves the model as it was."""

from __future__ import annotations

import copy
import itertools
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

import awb
from tests.damaged import SIZE, File, backbone, logits
from tests.levels import slow_but


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> File:
    folder = tmp_path_factory.mktemp("maps")
    return File(folder / "blocks.safetensors", attention="timm_cbam", rd_ratio=0.25)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> File:
    return File(tmp_path_factory.mktemp("tokens") / "blocks.safetensors", "test_vit")


@pytest.mark.slow
def test_the_right_files_load(maps: File, tokens: File) -> None:
    for file in (maps, tokens):
        assert torch.equal(logits(file.load(file.bytes)), file.expected)
        assert torch.equal(logits(file.load(file.with_plan(file.plan))), file.expected)


# --- metadata -------------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000


MALFORMED = [
    "", "{", "null", "[]x", "3", '"x"', "[3]", "[null]", '{"a": 1}', "{}", DEEP, '{"blocks":' * 50_000, "NaN",
    "1" * 5000, '{"backbone": "timm.ResNet"}', '["nope"]', '[{"name": "x"}]', '["\\ud800"]',
]  # fmt: skip


@pytest.mark.parametrize("name", ["plan", "modules_to_save", "backbone_weights"])
@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_metadata(name: str, text: str, maps: File) -> None:
    assert maps.refusal(maps.with_metadata(**{name: text}))


@pytest.mark.parametrize(("name", "message"), [("plan", "'plan'"), ("modules_to_save", "'modules_to_save'"),
                                               ("format", "not written by save_awb")])  # fmt: skip
def test_missing_metadata(name: str, message: str, maps: File) -> None:
    assert message in maps.refusal(maps.with_metadata(**{name: None}))


@pytest.mark.slow
@pytest.mark.parametrize("versions", [None, "{", "null", "[]", "{}"])
def test_versions_are_for_people_only(versions: str | None, maps: File) -> None:
    assert torch.equal(logits(maps.load(maps.with_metadata(versions=versions))), maps.expected)


@pytest.mark.parametrize("at", ["plan", "block", "site"])
def test_a_field_of_a_later_version_is_named(at: str, maps: File) -> None:
    plan = maps.plan
    {"plan": plan, "block": plan["blocks"][0], "site": plan["blocks"][0]["site"]}[at]["pooling"] = 1
    data = maps.with_metadata(plan=json.dumps(plan), versions=json.dumps({"awb": "9.1"}))
    message = maps.refusal(data)
    assert "was written by a later version of awb (9.1; this is" in message
    assert "has a field 'pooling'" in message


def test_a_later_format_is_named(maps: File) -> None:
    assert "later version of awb" in maps.refusal(maps.with_metadata(format="awb-3"))
    for wrong in ("awb-0", "awb", "awb-x", "2", "awb-" + "9" * 5000):
        assert "was not written by save_awb" in maps.refusal(maps.with_metadata(format=wrong))


def test_a_plan_of_enormous_length_is_not_even_parsed(maps: File) -> None:
    assert "characters" in maps.refusal(maps.with_metadata(plan="[" + "0," * 10_000_000 + "0]"))


@pytest.mark.parametrize("samples", ["x", "AAAA", "?" * 8, "AAAAAAAA" * 1000])
def test_damaged_fingerprints(samples: str, maps: File) -> None:
    weights = [{"name": "conv1.weight", "shape": [2], "samples": samples}]
    assert "are damaged" in maps.refusal(maps.with_metadata(backbone_weights=json.dumps(weights)))


# --- the plan -------------------------------------------------------------------------------------------------------

WRONG: list[Any] = [None, "", "x", "layer4", "SE", -1, 0, 3, 0.5, 10**30, True, [], [3], [0, 0], [-1, 9], {}, {"a": 1}]


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in nested dictionaries and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from fields(item, (*path, key))


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    tree = copy.copy(tree)
    tree[path[0]] = replaced(tree[path[0]], path[1:], value)
    return tree


@pytest.mark.parametrize(
    ("kind", "step"),
    slow_but([("maps", 5)], [("maps", 5), ("tokens", 17), ("maps", 1), ("tokens", 1)], pytest.mark.rest),
)
def test_any_field_of_the_plan_may_be_wrong(kind: str, step: int, request: pytest.FixtureRequest) -> None:
    """Each field (or some), each wrong value: refused, or of no effect on what the model answers."""
    file: File = request.getfixturevalue(kind)
    loaded = 0
    for path, value in list(itertools.product(fields(file.plan), WRONG))[::step]:
        file.path.write_bytes(file.with_plan(replaced(file.plan, path, value)))
        model = backbone(file.name)
        state = {key: v.clone() for key, v in model.state_dict().items()}
        try:
            awb.load_awb(model, file.path, input_size=SIZE)
        except awb.AWBError:
            assert all(torch.equal(v, state[key]) for key, v in model.state_dict().items()), (path, value)
        else:
            assert torch.equal(logits(model), file.expected), (path, value)
            loaded += 1
    assert loaded < 60  # such as a stage's number, and values that were right


def test_blocks_may_be_none_or_many(maps: File) -> None:
    block = maps.plan["blocks"][0]
    assert "unexpected" in maps.refusal(maps.with_plan({**maps.plan, "blocks": []}))
    assert "two blocks at layer4.0.awb" in maps.refusal(maps.with_plan({**maps.plan, "blocks": [block] * 20}))


def test_enormous_numbers_of_blocks_weights_and_modules(maps: File) -> None:
    block = maps.plan["blocks"][0]
    many = [{**block, "home": f"layer{i}"} for i in range(1_000)]
    assert "1000 blocks, more than" in maps.refusal(maps.with_plan({**maps.plan, "blocks": many}))
    weights = [{"name": "conv1.weight", "shape": [5], "samples": "AAAA" * 4}] * 5_000
    assert "another network" in maps.refusal(maps.with_metadata(backbone_weights=json.dumps(weights)))
    maps.load(maps.with_metadata(modules_to_save=json.dumps(["fc"] * 10_000)))


@pytest.mark.slow
@pytest.mark.parametrize("order", [[0], [0, 0, 1, 2], list(range(1, 17)), list(range(17)), list(range(10**6))], ids=len)
def test_an_order_is_one_of_the_tokens_there_are(order: list[int], tokens: File) -> None:
    plan = tokens.plan
    plan["blocks"][0]["site"]["order"] = order
    assert "is not an order of" in tokens.refusal(tokens.with_plan(plan))


BOMBS: list[tuple[str, dict[str, Any]]] = [
    ("timm_cbam", {"rd_channels": 10_000_000}),
    ("timm_cbam", {"spatial_kernel_size": 20_001}),
    ("lka", {"kernel_size": 10_001, "dilation": 1}),
    ("timm_se", {"rd_ratio": 1e6}),
    ("timm_se", {"rd_ratio": 1e308}),
    ("timm_se", {"rd_channels": 10**18}),
    ("timm_lambda", {"r": 20_001}),
    ("timm_lambda", {"r": None, "feat_size": [300, 300]}),
    ("timm_nl", {"rd_ratio": 1e6}),
    ("lka", {"channels": 5}),
    ("lka", {"": 5}),
    ("timm_gc", {"act_layer": "no such layer"}),
    ("no such kind", {}),
    ("halo", {}),
]


@pytest.mark.parametrize(("attention", "options"), BOMBS)
def test_nothing_large_is_made_before_shapes_are_compared(attention: str, options: Any, maps: File) -> None:
    plan = maps.plan
    plan["blocks"][0] |= {"attention": attention, "attention_kwargs": options}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    maps.refusal(save({"x": torch.zeros(1)}, {**maps.metadata, "plan": json.dumps(plan)}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB; each would take gigabytes


def test_a_table_that_is_not_in_the_file_has_a_limit(maps: File) -> None:
    """A small file may rightly have all the parameters of a kind that builds a table of positions besides."""
    plan = maps.plan
    plan["blocks"][0] |= {"attention": "lambda", "attention_kwargs": {"r": None, "feat_size": [200, 200]}}
    with torch.device("meta"):
        module = awb.create_attention("lambda", plan["blocks"][0]["site"]["channels"], r=None, feat_size=(200, 200))
    path = f"{plan['blocks'][0]['home']}.awb"
    tensors = {f"{path}.attention.{key}": torch.zeros(v.shape, dtype=v.dtype) for key, v in module.state_dict().items()}
    fc = {key: v for key, v in maps.tensors.items() if key.startswith("fc.")}
    message = maps.refusal(save({**tensors, **fc}, {**maps.metadata, "plan": json.dumps(plan)}))
    assert "bytes of buffers" in message


def test_a_kind_that_cannot_be_built_on_meta_loads_all_the_same(tmp_path: Path) -> None:
    @awb.register_attention("looks at values")
    class Looks(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(channels, 1, 1) * torch.linspace(1, 2, 3)[1].item())

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    file = File(tmp_path / "blocks.safetensors", attention="looks at values")
    assert torch.equal(logits(file.load()), file.expected)
    key = "layer4.0.awb.attention.scale"
    assert key in file.refusal(save({**file.tensors, key: torch.ones(5, 1, 1)}, file.metadata))


# --- the tensors ----------------------------------------------------------------------------------------------------

TENSORS = {
    "NaN": lambda t: t * float("nan"),
    "one infinity": lambda t: t.index_fill(0, torch.tensor([0]), float("inf")),
    "int64": lambda t: t.long(),
    "bool": lambda t: t.bool(),
    "complex": lambda t: t.to(torch.complex64),
    "an axis more": lambda t: t[None],
    "scalar": lambda t: t.sum(),
    "empty": lambda t: t[:0],
    "twice as long": lambda t: torch.cat([t, t]),
}


@pytest.mark.parametrize("part", slow_but(["layer4.0.awb.gamma"], ["layer4.0.awb.gamma", "fc.weight"]))
@pytest.mark.parametrize("name", TENSORS)
def test_wrong_tensors(name: str, part: str, maps: File) -> None:
    changed = TENSORS[name](maps.tensors[part]).contiguous()
    assert part in maps.refusal(save({**maps.tensors, part: changed}, maps.metadata))


def test_missing_and_further_tensors(maps: File) -> None:
    for key in maps.tensors:
        rest = {other: tensor for other, tensor in maps.tensors.items() if other != key}
        assert f"{key}" in maps.refusal(save(rest, maps.metadata))
    more = {f"layer1.extra{i}": torch.zeros(1) for i in range(2000)}
    message = maps.refusal(save({**maps.tensors, **more}, maps.metadata))
    assert "unexpected: layer1.extra0" in message
    assert len(message) < 500


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_floating_point_dtype_is_cast(dtype: torch.dtype, maps: File) -> None:
    tensors = {key: t.to(dtype) if t.is_floating_point() else t for key, t in maps.tensors.items()}
    model = maps.load(save(tensors, maps.metadata))
    state = model.state_dict()
    assert all(torch.equal(state[key], tensor.to(state[key].dtype)) for key, tensor in tensors.items())


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=JSON, name=st.sampled_from(["plan", "modules_to_save", "backbone_weights"]))
def test_any_json_at_all(junk: Any, name: str, maps: File) -> None:
    maps.path.write_bytes(maps.with_metadata(**{name: json.dumps(junk)}))
    harmless = name != "plan" and junk == []
    if harmless and name == "backbone_weights":
        assert torch.equal(logits(maps.load()), maps.expected)
    else:
        assert maps.refusal()
