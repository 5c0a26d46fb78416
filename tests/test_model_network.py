"""The network: equal losses and detections to torchvision's Mask R-CNN, without its silent traps."""

from __future__ import annotations

import pytest
import torch
from model_cases import draw_image, draw_target, tiny_config
from torchvision.models.detection import MaskRCNN
from torchvision.ops import box_iou

from napari_cellseg.model.network.build import build_model
from napari_cellseg.model.network.mask_rcnn import CellMaskRCNN
from napari_cellseg.model.network.mask_targets import mask_targets
from napari_cellseg.model.network.matching import match_anchors
from napari_cellseg.model.network.roi_heads import _outline

LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}


def make(seed: int = 0, preset: str = "lite", **changes) -> CellMaskRCNN:
    torch.manual_seed(seed)
    return build_model(tiny_config(preset, **changes))


def stock(model: CellMaskRCNN, size: int) -> MaskRCNN:
    """torchvision's MaskRCNN with the very same weights and settings."""
    config, heads = model.config, model.roi_heads
    rpn, box, found = config.rpn, config.box_head, config.detection
    return MaskRCNN(
        model.backbone,
        min_size=size,
        max_size=size,
        image_mean=config.backbone.mean,
        image_std=config.backbone.std,
        rpn_anchor_generator=model.rpn.anchor_generator,
        rpn_head=model.rpn.head,
        rpn_pre_nms_top_n_train=rpn.pre_nms_train,
        rpn_pre_nms_top_n_test=rpn.pre_nms_test,
        rpn_post_nms_top_n_train=rpn.post_nms_train,
        rpn_post_nms_top_n_test=rpn.post_nms_test,
        rpn_fg_iou_thresh=rpn.positive_iou,
        box_roi_pool=heads.box_roi_pool,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        box_score_thresh=found.min_score,
        box_nms_thresh=found.nms,
        box_detections_per_img=found.per_image,
        box_batch_size_per_image=box.samples,
        box_positive_fraction=box.positive_fraction,
        mask_roi_pool=heads.mask_roi_pool,
        mask_head=heads.mask_head,
        mask_predictor=heads.mask_predictor,
    )


@pytest.fixture(scope="module")
def pair() -> tuple[CellMaskRCNN, MaskRCNN]:
    model = make(preset="reference", detection__class_agnostic_nms=False, rpn__post_nms_test=300)
    return model, stock(model, 192)


def test_losses_equal_torchvisions(pair):
    model, reference = pair
    target = draw_target((192, 192), 25)
    image = draw_image(target).float() / 255
    dense = (target["class_maps"][target["labels"] - 1] == target["values"][:, None, None]).to(torch.uint8)
    torch.manual_seed(7)
    torch.empty(1).uniform_()  # torchvision draws a size to resize to, of the one there is
    ours = model.train()([image], [target])
    torch.manual_seed(7)  # both draw the same samples
    theirs = reference.train()([image], [{**target, "masks": dense}])
    assert set(ours) == LOSSES == set(theirs)
    for name in LOSSES:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=2e-5), name


def test_detections_equal_torchvisions(pair):
    model, reference = pair
    image = draw_image(draw_target((192, 192), 25)).float() / 255
    ours = model.eval().detect([image])[0]
    with torch.inference_mode():
        theirs = reference.eval()([image])[0]
    assert len(ours) > 20
    assert torch.equal(ours.boxes, theirs["boxes"])
    assert torch.equal(ours.scores, theirs["scores"])
    assert torch.equal(ours.class_ids, theirs["labels"])


def test_every_trainable_weight_gets_a_gradient_and_frozen_ones_none():
    model = make(backbone__frozen_stages=1)
    target = draw_target((128, 160), 12)
    sum(model.train()([draw_image(target)], [target]).values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert without == []
    assert frozen
    assert all(
        name.startswith(("backbone.body.conv_stem", "backbone.body.blocks.0", "backbone.body.blocks.1"))
        for name in frozen
    )


def test_images_of_several_sizes_one_without_any_cell():
    model = make().train()
    targets = [draw_target((100, 140), 8), draw_target((64, 50), 0), draw_target((33, 200), 3)]
    losses = model([draw_image(t) for t in targets], targets)
    assert set(losses) == {*LOSSES, "loss_iou"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()


def test_an_image_without_cells_alone():
    model, target = make().train(), draw_target((64, 64), 0)
    losses = model([draw_image(target)], [target])
    assert losses["loss_mask"].item() == losses["loss_box_reg"].item() == 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (97, 65)])
def test_detections_stay_inside_images_of_any_size(size):
    model = make(rpn__min_score=0, detection__min_score=0).eval()
    found = model.detect([torch.randint(0, 256, (3, *size), dtype=torch.uint8)])[0]
    assert found.mask_probs.shape == (len(found), 28, 28)
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= torch.tensor([size[1], size[0]])).all()
    assert (found.scores.diff() <= 0).all()


def test_bytes_and_floats_are_the_same_image():
    model = make(detection__min_score=0.01).eval()
    image = draw_image(draw_target((96, 96), 10))
    first, second = model.detect([image, image.float() / 255])
    assert len(first) > 0
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.mask_probs, second.mask_probs)


def test_the_mask_head_sees_only_what_passes_the_score_gate():
    model = make(detection__min_score=0.0, detection__per_image=17).eval()
    seen = []
    model.roi_heads.mask_head.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    image = draw_image(draw_target((96, 96), 10))
    assert len(model.detect([image])[0]) == 17
    assert seen == [17]
    model.roi_heads.score_thresh = 1.0
    assert len(model.detect([image])[0]) == 0
    assert seen == [17]


def test_one_cell_has_one_class():
    model = make(detection__min_score=0.0, rpn__min_score=0).eval()
    found = model.detect([draw_image(draw_target((96, 96), 10))])[0]
    overlap = box_iou(found.boxes, found.boxes).fill_diagonal_(0)
    assert overlap.max() <= model.config.detection.nms


def test_half_precision_moves_neither_anchors_nor_targets(monkeypatch):
    """torchvision makes anchors in the features' type: in bfloat16 they lie up to 4 px off in a 1,000 px tile."""
    seen: list[torch.Tensor] = []

    def keep(anchors, *rest):
        seen.append(anchors)
        return match_anchors(anchors, *rest)

    def keep_targets(*arguments):
        seen.append(mask_targets(*arguments))
        return seen[-1]

    monkeypatch.setattr("napari_cellseg.model.network.rpn.match_anchors", keep)
    monkeypatch.setattr("napari_cellseg.model.network.roi_heads.mask_targets", keep_targets)
    target, model = draw_target((64, 640), 10), make(box_head__positive_fraction=1.0).train()
    monkeypatch.setattr(model.rpn, "_pre_nms_top_n", {"training": 1, "testing": 1})  # the cells themselves remain
    for half in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            losses = model([draw_image(target)], [target])
        assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.eval().detect([draw_image(target)])[0]
        model.train()
    assert found.mask_probs.dtype == found.boxes.dtype == torch.float32
    whole, whole_targets, half, half_targets = seen
    assert torch.equal(whole, half)
    assert half_targets.dtype == torch.float32
    assert torch.equal(whole_targets[-5:], half_targets[-5:])


def test_detect_wants_evaluation_mode():
    with pytest.raises(ValueError, match=r"model\.eval"):
        make().detect([torch.zeros(3, 64, 64)])


def test_focal_loss_without_focus_is_cross_entropy_a_cell():
    target = draw_target((96, 96), 10)
    image = draw_image(target)

    def loss(**changes) -> float:
        model = make(**changes).train()
        torch.manual_seed(1)
        return model([image], [target])["loss_classifier"].item()

    plain = loss()
    flat, sharp = (loss(box_head__loss="focal", box_head__focal_gamma=gamma) for gamma in (0, 2))
    ratio = flat / plain  # proposals / cells among them
    assert ratio >= 2.5
    assert sharp < flat
    assert loss(box_head__class_weights=(5.0, 1.0, 1.0)) != plain
    assert loss(box_head__label_smoothing=0.1) != plain


def test_dice_adds_to_the_mask_loss_and_samples_limit_it():
    target = draw_target((96, 96), 10)
    image = draw_image(target)
    torch.manual_seed(0)
    plain = make().train()([image], [target])["loss_mask"]
    with_dice = make(mask_head__dice_weight=1.0).train()([image], [target])["loss_mask"]
    assert plain < with_dice < plain + 1
    model, seen = make(mask_head__samples=5).train(), []
    model.roi_heads.mask_head.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model([image], [target])
    assert seen == [5]


def test_outlines_can_count_more_in_the_mask_loss():
    target = draw_target((96, 96), 10)
    image = draw_image(target)

    def loss(weight: float) -> float:
        model = make(mask_head__boundary_weight=weight).train()
        torch.manual_seed(1)
        return model([image], [target])["loss_mask"].item()

    assert 1.05 * loss(0) < loss(1) < 2 * loss(0)  # some pixels count twice
    assert loss(2) - loss(1) == pytest.approx(loss(1) - loss(0), rel=1e-3)


def test_the_outline_is_both_sides_of_the_edge_and_not_the_frame():
    mask = torch.zeros((1, 7, 7))
    mask[0, :, :3] = 1
    assert _outline(mask)[0, 3].tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert _outline(torch.ones((1, 7, 7))).sum() == 0


def test_a_score_with_iou_is_the_geometric_mean_of_class_and_box():
    target = draw_target((96, 96), 10)
    image = draw_image(target)
    plain = make(detection__min_score=0.0, box_head__iou_score=False).eval()
    with_iou = make(detection__min_score=0.0, box_head__iou_score=True).eval()
    missing, unexpected = with_iou.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, unexpected) == (["roi_heads.iou_predictor.weight", "roi_heads.iou_predictor.bias"], [])
    torch.nn.init.zeros_(with_iou.roi_heads.iou_predictor.weight)
    torch.nn.init.constant_(with_iou.roi_heads.iou_predictor.bias, 1.5)
    scores = plain.detect([image])[0].scores
    expected = (scores * torch.sigmoid(torch.tensor(1.5))).sqrt()
    assert torch.allclose(with_iou.detect([image])[0].scores, expected, atol=1e-5)


def test_the_learnt_iou_follows_the_overlap_of_the_refined_box():
    heads = make(box_head__iou_score=True).roi_heads
    proposals = torch.tensor([[10.0, 10, 30, 30], [10, 10, 30, 30]])
    cells = torch.tensor([[10.0, 10, 30, 30], [20, 10, 40, 30]])
    wanted, nothing = heads.box_coder.encode_single(cells, proposals), torch.zeros((2, 4))
    right, wrong = (
        heads._iou_loss(torch.logit(torch.tensor(told)), nothing, wanted, proposals)
        for told in ((0.99, 1 / 3), (1 / 3, 0.99))
    )
    assert right < wrong / 2
    assert heads._iou_loss(torch.zeros(0), nothing[:0], wanted[:0], proposals[:0]) == 0
    model, target = make(box_head__iou_score=True).train(), draw_target((96, 96), 10)
    losses = model([draw_image(target)], [target])
    assert set(losses) == {*LOSSES, "loss_iou"}
    losses["loss_iou"].backward()
    assert model.roi_heads.iou_predictor.weight.grad.abs().sum() > 0


def test_original_preset_resizes_and_gives_boxes_in_the_images_own_pixels():
    model = make(preset="original", min_size=256, max_size=300, detection__min_score=0.0)
    target = draw_target((64, 64), 6)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    losses = model.train()([draw_image(target)], [target])
    found = model.eval().detect([draw_image(target)])[0]
    assert seen == [(1, 3, 256, 256)] * 2
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert len(found) == 100
    assert 32 < found.boxes.max() <= 64


def test_training_lowers_the_loss():
    model = make(backbone__batch_norm="train").train()
    target = draw_target((96, 96), 10)
    image, optimizer = draw_image(target), torch.optim.AdamW(model.parameters(), 3e-3)
    history = []
    for _ in range(20):
        loss = sum(model([image], [target]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.8 * sum(history[:5])
