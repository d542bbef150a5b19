"""Image corruptions of the robustness results, by kind.

`jpeg_30` is JPEG quality 30, `bicubic_16` is 16×16 pixels, `+` chains two. Recorded results use these names.
"""

CLEAN = "as it is"
METHODS = ("nearest", "bilinear", "bicubic", "lanczos")
CONDITIONS = {
    "compression": ("jpeg_75", "jpeg_50", "jpeg_30", "jpeg_10"),
    "blur": ("blur_0.5", "blur_1", "blur_2"),
    "noise": ("noise_8", "noise_16", "noise_32"),
    "light": ("brightness_0.5", "brightness_1.5", "contrast_0.5", "contrast_0.25"),
    "pixelation": ("pixelate_16", "pixelate_8"),
    "resolution": ("bicubic_8", "bicubic_16", "bicubic_24", "bicubic_64", "bicubic_128", "bicubic_512"),
    # crop_0.75 is an alias of center_crop_0.75
    "shape": ("crop_0.75", "corner_0.75", "stretch_1.5", "stretch_0.67", "bars_1.5", "screenshot_0.25"),
    "enlarged": tuple(f"{method}_{side}+jpeg_90" for method in METHODS for side in (96, 224, 640)),
}
