"""Models of timm, some of every family of its: the smaller ones, since what is to be shown is breadth.

Those whose code is made for one size of picture are built for a small one, the others are just given a small one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from bench.models.entry import Entry, floats

#: Size of the picture, whether the model is built for it -> names.
_MODELS: dict[tuple[int, bool], str] = {
    (64, False): """
        caformer_s18 convmixer_1024_20_ks9_p14 convmixer_768_32 convnext_atto convnext_tiny cpubone_b0_bfrobust
        cpubone_s0 crossvit_18_240 crossvit_tiny_240 cs3darknet_focus_s csatv2 csatv2_21m cspnext_s cspnext_tiny
        cspresnet50 cspresnext50 davit_small davit_tiny densenet121 densenetblur121d dla102 dla60x_c dpn68 dpn98
        eca_vovnet39b ecaresnet26t edgenext_small edgenext_xx_small efficientnet_b0 efficientvim_m1
        efficientvim_m4_dist efficientvit_b0 efficientvit_b3 fasternet_s fasternet_t2 fastvit_ma36 fastvit_t8
        focalnet_small_lrf focalnet_tiny_srf ghostnet_050 ghostnetv3_050 hardcorenas_a hardcorenas_f hgnet_small
        hgnetv2_b0 hieradet_small hrnet_w18_small hrnet_w18_small_v2 iformer_s iformer_t inception_next_atto
        inception_next_tiny lcnet_035 lcnetv2_small legacy_seresnet50 legacy_seresnext50_32x4d legacy_xception
        lowformer_b0 lowformer_e3 mambaout_femto mobilenet_edgetpu_v2_xs mobilenetv3_small_075
        mobilenetv4_hybrid_medium_075 nextvit_small nf_ecaresnet26 nf_resnet50 poolformer_s12 poolformerv2_s36
        pvt_v2_b0 pvt_v2_b3 rdnet_small rdnet_tiny regnetv_040 regnety_004 regnetz_040_h repghostnet_050
        repghostnet_150 res2net50_14w_8s res2next50 resnest26d resnest50d_4s2x40d resnet50t resnetv2_18
        resnetv2_50d_evos rexnet_150 rexnetr_150 sam2_hiera_tiny selecsls42 selecsls84 shvit_s1 shvit_s4
        skresnet50 skresnext50_32x4d starnet_s050 starnet_s4 test_convnext3 test_mambaout test_nfnet
        tiny_vit_11m_224 tiny_vit_5m_224 tinynet_e tresnet_l tresnet_v2_l vovnet57a xception41 xception71
        dla34 dla60_res2net dla60_res2next eca_nfnet_l0 efficientnet_b0_g8_gn efficientnet_b0_gn efficientnet_lite0
        ese_vovnet19b_dw fbnetc_100 fbnetv3_b gcresnet33ts gernet_s ghostnetv2_100 hgnet_tiny lcnet_050 mixnet_s
        mnasnet_small mobilenetv2_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0 nf_regnet_b0
        nf_seresnet26 regnetx_002 regnetz_b16 resnet10t resnet18 resnet26d resnetrs50 resnetv2_50d_gn
        resnetv2_50x1_bit rexnet_100 semnasnet_050 seresnext26t_32x4d spnasnet_100 tf_efficientnet_b0 tf_mixnet_s
        convnextv2_atto fastvit_mci0 lambda_resnet26t pvt_v2_b2_li resnest14d skresnet18 starnet_s1
        test_efficientnet_evos
    """,
    (64, True): """
        beit_base_patch16_224 botnet26t_256 cait_s24_224 cait_xxs36_224 coat_lite_mini coat_tiny coatnet_0_224
        convit_small convit_tiny deit3_small_patch16_224 deit_small_patch16_224 deit_tiny_patch16_224
        efficientformerv2_s0 efficientformerv2_s2 efficientvit_m0 efficientvit_m5 eva02_small_patch14_224
        flexivit_small gcvit_small gcvit_xxtiny gmlp_s16_224 hiera_small_224 hiera_tiny_224 levit_128 levit_256d
        levit_conv_256d maxvit_rmlp_pico_rw_256 mixer_s16_224 mixer_s32_224 mobilevit_s mobilevitv2_150
        mvitv2_small mvitv2_tiny nest_small nest_tiny_jx pit_xs_224 pit_xs_distilled_224 repvit_m0_9 repvit_m3
        resnet50_clip sequencer2d_s swiftformer_s swiftformer_xs swin_s3_small_224 swin_tiny_patch4_window7_224
        swinv2_cr_small_224 swinv2_cr_small_ns_256 swinv2_cr_tiny_ns_224 swinv2_small_window16_256
        swinv2_tiny_window8_256 test_byobnet test_maxvit test_vit_relpos tnt_s_patch16_224 twins_pcpvt_small
        twins_svt_small visformer_small visformer_tiny vit_base_patch16_224 vit_relpos_small_patch16_rpn_224
        vit_small_patch14_reg4_dinov2 vit_small_patch16_lingbot vit_small_r26_s32_224
        vit_small_resnet50d_s16_224 vit_srelpos_small_patch16_224 vit_tiny_patch16_dinov3_qkvb
        vit_tiny_r_s16_p8_224 vit_xsmall_patch16_clip_224 vitamin_small_224 volo_d1_224 xcit_nano_12_p16_224
        xcit_small_24_p16_224 xcit_tiny_24_p8_224
        coat_lite_tiny gmixer_12_224 levit_128s maxvit_nano_rw_256 mobilevit_xxs naflexvit_base_patch16_gap nest_tiny
        resmlp_12_224 samvit_base_patch16_224 test_vit2 test_vit4 tnt_s_legacy_patch16_224
        vit_pwee_patch16_reg1_gap_256 vit_small_patch16_dinov3 vit_small_patch16_rope_mixed_224 xcit_nano_12_p8_224
    """,
    (96, False): """
        inception_resnet_v2 inception_v3 inception_v4
    """,
    (128, True): """
        lamhalobotnet50ts_256
    """,
    (224, False): """
        efficientformer_l1
    """,
    (256, False): """
        bat_resnext26ts halonet26t
    """,
}


def entries() -> Iterator[Entry]:
    """One entry for each name of the table."""
    from timm.models import get_pretrained_cfg_value

    for (size, built_for_it), names in _MODELS.items():
        for name in names.split():
            channels = (get_pretrained_cfg_value(name, "input_size") or (3,))[0]
            yield Entry(
                name=f"timm/{name}",
                family="timm",
                build=partial(_build, name, size if built_for_it else None),
                inputs=floats((channels, size, size)),
            )


def _build(name: str, size: int | None) -> nn.Module:
    import timm

    options: dict[str, Any] = {} if size is None else {"img_size": size}
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model
