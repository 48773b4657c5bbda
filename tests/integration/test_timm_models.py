"""What timm tests of each of its own models, with blocks after every live stage: forward, backward, features, FX."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import awb
from benchmarks.zoo_coverage import Row, _no_random_init, build, set_weights, smallest_size, tame
from tests.helpers import calibrate, gradients, perturb
from tests.levels import slow_but

# of 60 files of timm, the smallest of each by number of parameters
TINY = "dla46x_c test_convnext test_efficientnet test_nfnet test_resnet test_vit".split()  # noqa: SIM905
NAMES = """
convit_tiny cpubone_nano crossvit_tiny_240 cs3darknet_focus_s cspnext_tiny
deit_tiny_patch16_224 densenet121 dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0
efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim_dw fasternet_t0 fastvit_t8 gcvit_xxtiny ghostnet_050
gmlp_ti16_224 hardcorenas_b hgnetv2_b0 hrnet_w18_small iformer_t inception_next_atto lcnetv2_small
legacy_seresnet18 levit_128s lowformer_b0 mobilenetv3_small_050 mobilevit_xxs nest_tiny pit_ti_224
poolformerv2_s12 pvt_v2_b0 regnetx_002 repghostnet_050 repvit_m1 resnest14d resnetv2_18 rexnet_100 selecsls42
shvit_s1 skresnet18 starnet_s050 swiftformer_xs test_byobnet test_coatnet test_mambaout test_vit_relpos
tiny_vit_5m_224 visformer_tiny vit_tiny_r_s16_p8_224 xcit_nano_12_p8_224
""".split()  # noqa: SIM905 (a list would be longer than it is clear)

PARAMS = slow_but(["test_resnet", "test_vit"], TINY) + [pytest.param(name, marks=pytest.mark.rest) for name in NAMES]

pytestmark = pytest.mark.filterwarnings("ignore")  # the networks' own


@dataclass
class Case:
    """A network with blocks that are not the identity, the same without blocks, and two images."""

    name: str
    model: nn.Module
    bare: nn.Module
    images: Tensor
    stages: list[awb.Stage]


@pytest.fixture(
    scope="module",
    params=PARAMS,
)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    name = request.param
    with _no_random_init():
        bare = build(Row("timm", name)).eval()
    set_weights(bare)
    size, stages = smallest_size(bare)
    live = [stage for stage in stages if stage.live]
    tame(bare, size, [site.module for stage in stages for site in stage.sites])
    images = torch.randn(2, 3, *size)
    calibrate(bare, images)
    model = awb.attach_awb(copy.deepcopy(bare), live, input_size=size)
    perturb(model, 0.05 / len(awb.awb_blocks(model)))
    return Case(name, model, bare, images, live)


def test_list() -> None:
    """Sixty architectures, from as many files."""
    files = timm.models._registry._model_to_module
    assert len({files[name] for name in TINY + NAMES}) == len(TINY + NAMES) == 60


@torch.no_grad()
def test_forward(case: Case) -> None:
    logits = case.model(case.images)
    assert logits.isfinite().all()
    assert not torch.equal(logits, case.bare(case.images))
    with awb.awb_disabled(case.model):
        assert torch.equal(case.model(case.images), case.bare(case.images))


def test_backward(case: Case) -> None:
    """In training mode all that gets a gradient without blocks gets one with them, and so does each block."""
    bare, model = (copy.deepcopy(m).train() for m in (case.bare, case.model))
    without, found = (gradients(m, case.images) for m in (bare, model))
    blocks = {name for name, _ in model.named_parameters() if name not in dict(bare.named_parameters())}
    assert blocks
    assert found.keys() == without.keys() | blocks
    for name in blocks:
        assert found[name].isfinite().all(), name


@torch.no_grad()
def test_features_and_head(case: Case) -> None:
    features = case.model.forward_features(case.images)
    assert not same(features, case.bare.forward_features(case.images))
    assert same(case.model.forward_head(features), case.model(case.images))


@torch.no_grad()
def test_intermediates(case: Case) -> None:
    """The last ones are after the last block, and the features at the end are those of `forward_features`."""
    if not hasattr(case.bare, "forward_intermediates"):
        pytest.skip("the network has no forward_intermediates")
    end, maps = case.bare.forward_intermediates(case.images)
    end_with_blocks, maps_with_blocks = case.model.forward_intermediates(case.images)
    assert [m.shape for m in maps_with_blocks] == [m.shape for m in maps]
    assert not torch.equal(maps_with_blocks[-1], maps[-1])
    if same(end, case.bare.forward_features(case.images)):
        assert same(end_with_blocks, case.model.forward_features(case.images))


@torch.no_grad()
def test_features_only(case: Case) -> None:
    """The network cut to its feature maps takes blocks, and each map from the first block on shows them."""
    size = tuple(case.images.shape[-2:])
    try:
        bare = timm.create_model(case.name, pretrained=False, features_only=True).eval()
        plain = bare(case.images)
    except (RuntimeError, AttributeError, AssertionError, ValueError) as error:
        pytest.skip(f"the network offers no feature maps at this size: {error}")
    calibrate(bare, case.images)
    plain = bare(case.images)
    try:
        model = awb.attach_awb(copy.deepcopy(bare), "all", input_size=size)
    except awb.AWBError as error:
        if "by path" not in str(error) and "pass a Stage" not in str(error):
            raise
        pytest.skip(f"awb asks for paths: {error}")
    assert same(model(case.images), plain)
    perturb(model, 0.05 / len(awb.awb_blocks(model)))
    maps = model(case.images)
    assert [m.shape for m in maps] == [m.shape for m in plain]
    assert not torch.equal(maps[-1], plain[-1])


def test_gradient_checkpointing(case: Case) -> None:
    model = copy.deepcopy(case.model)
    try:
        model.set_grad_checkpointing()
    except (AssertionError, AttributeError):
        pytest.skip("the network has no gradient checkpointing")
    expected, found = gradients(case.model, case.images), gradients(model, case.images)
    case.model.zero_grad(set_to_none=True)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max()), msg=name)


@torch.no_grad()
def test_fx(case: Case) -> None:
    try:
        traced(case.bare)
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AssertionError, AttributeError) as error:
        pytest.skip(f"FX cannot trace the network without blocks: {error}")
    model, images = (
        copy.deepcopy(case.model).double(),
        case.images.double(),
    )  # in float32 LKA's fast path rounds otherwise
    expected = model(images)
    found = traced(model)(images)
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def traced(model: nn.Module) -> Any:
    """The network as timm traces it, with its last node as the only output."""
    options = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    last = get_graph_node_names(model, tracer_kwargs=options)[1][-1]
    extractor = create_feature_extractor(model, [last], tracer_kwargs=options)
    return lambda images: extractor(images)[last]


def same(a: Any, b: Any) -> bool:
    """Whether two outputs hold equal tensors."""
    a, b = (torch.utils._pytree.tree_leaves(x) for x in (a, b))
    return len(a) == len(b) and all(map(torch.equal, a, b))
