"""Methods of making maps, one file each: images (N, 3, H, W) and one logit per image (N,) in, maps (N, h, w) out."""
