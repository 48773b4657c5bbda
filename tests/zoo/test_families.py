"""The smallest architecture of each of timm's 98 files, one of each of torchvision's families, and their variants.

The whole zoo is run by `python -m benchmarks.zoo_coverage`.
"""

from __future__ import annotations

import pytest
import timm
import torchvision

from benchmarks.zoo_coverage import Row, examine

# by number of parameters, timm 1.0.31
TIMM = """
beit_base_patch16_224 cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32 cpubone_nano crossvit_tiny_240
cs3darknet_focus_s csatv2 cspnext_tiny davit_tiny deepseek_vit_412m deit_tiny_patch16_224 densenet121 dla46x_c
dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientvim_m1 efficientvit_b0 efficientvit_m0
ese_vovnet19b_slim_dw fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny gemma4_vit_167m ghostnet_050
gmlp_ti16_224 halonet_h1 hardcorenas_b hgnetv2_b0 hiera_tiny_224 hrnet_w18_small iformer_t inception_next_atto
inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small legacy_seresnet18 legacy_xception levit_128s
lowformer_b0 mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_parfac_gap
nasnetalarge nest_tiny nextvit_small pit_ti_224 pnasnet5large poolformerv2_s12 pvt_v2_b0 qwen3_vit_88m rdnet_tiny
regnetx_002 repghostnet_050 repvit_m1 res2next50 resnest14d resnetv2_18 rexnet_100 sam2_hiera_tiny
samvit_base_patch16_224 selecsls42 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window8_256 test_byobnet test_coatnet test_convnext
test_efficientnet test_mambaout test_nfnet test_resnet test_vit test_vit_relpos tiny_vit_5m_224
tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_dinov3_qkvb
vit_tiny_r_s16_p8_224 vitamin_small_224 volo_d1_224 xception41p xcit_nano_12_p8_224
""".split()  # noqa: SIM905 (a list would be longer than it is clear)
# built of other blocks than the smallest of their file
VARIANTS = ["timm:" + name for name in ("resnet50", "tf_efficientnetv2_s", "twins_pcpvt_small", "coat_lite_tiny")]
VARIANTS += ["torchvision:" + name for name in ("resnet50", "efficientnet_v2_s", "mobilenet_v3_large")]
TORCHVISION = """
alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
mobilenet_v3_small regnet_y_400mf resnet18 shufflenet_v2_x0_5 squeezenet1_1 swin_t vgg11_bn vit_b_32
""".split()  # noqa: SIM905 (a list would be longer than it is clear)


@pytest.mark.rest
@pytest.mark.parametrize("name", [*(f"timm:{n}" for n in TIMM), *(f"torchvision:{n}" for n in TORCHVISION), *VARIANTS])
@pytest.mark.filterwarnings("ignore")  # the networks' own
def test_family(name: str) -> None:
    library, _, architecture = name.partition(":")
    row = Row(library, architecture)
    examine(row)
    assert (row.status, row.detail) == ("works", "")


def test_every_file_and_family_is_here() -> None:
    """A newer timm may have more: then a line is missing above."""
    files = timm.models._registry._model_to_module
    assert {files[name] for name in TIMM} == {files[name] for name in timm.list_models()}
    ours = torchvision.models.list_models(module=torchvision.models)
    modules = {name: torchvision.models.get_model_builder(name).__module__ for name in ours}
    assert {modules[name] for name in TORCHVISION} == set(modules.values())
