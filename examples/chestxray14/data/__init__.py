"""Labels, boxes, images and splits of a study, and the image store that training reads."""
