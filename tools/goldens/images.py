"""Small images of the kinds that are easily misread, and what libjpeg and libtiff (by Pillow) make of them: tests/fixtures/images/.

`expected.json` holds for each file the upright size, the bands and the samples, `[height, width, bands]`.

    pip install pillow==13.0.0 rasterio==1.4.4 numpy
    python tools/goldens/images.py
"""

import io
import json
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image, ImageOps

FOLDER = Path(__file__).parents[2] / "tests" / "fixtures" / "images"
WIDTH, HEIGHT = 21, 18


def colours():
    """Slopes, and a red square in blue: the edge where chroma at half resolution shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([11 * x, 13 * y, 255 - 6 * x - 6 * y], -1).astype("uint8")
    image[5:13, 4:11] = (230, 20, 30)
    image[5:13, 11:17] = (20, 30, 220)
    return image


def with_hole(image):
    """With an alpha band that is 0 in a corner."""
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 5, 8))
    image = image.copy()
    image.putalpha(alpha)
    return image


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def with_transform(data, transform):
    """The colour transform of Adobe's segment, set to another."""
    at = data.index(b"Adobe")
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    rgb = Image.fromarray(colours())
    grey = rgb.convert("L")
    inks = rgb.convert("CMYK")
    # More black ink than Pillow's conversion makes, which is none.
    c, m, y, _ = inks.split()
    inks = Image.merge("CMYK", [c, m, y, grey.point(lambda v: v // 3)])
    turned = Image.Exif()
    turned[274] = 6
    bmp = io.BytesIO()
    rgb.save(bmp, "BMP")
    files = {
        "plain.bmp": bmp.getvalue(),
        "ycbcr-420.jpg": jpeg(rgb, subsampling=2),
        "ycbcr-422.jpg": jpeg(rgb, subsampling=1),
        "ycbcr-444.jpg": jpeg(rgb, subsampling=0),
        "progressive-420.jpg": jpeg(rgb, subsampling=2, progressive=True),
        "progressive-restart.jpg": jpeg(rgb, subsampling=0, progressive=True, restart_marker_blocks=2),
        "grey.jpg": jpeg(grey),
        "turned.jpg": jpeg(rgb, subsampling=0, exif=turned),
        "cmyk.jpg": jpeg(inks),
        "ycck.jpg": with_transform(jpeg(inks), 2),
    }
    for name, image, options in [
        ("turned.webp", rgb, dict(exif=turned)),
        ("transparent.webp", with_hole(rgb), dict(exact=True)),
    ]:
        webp = io.BytesIO()
        image.save(webp, "WEBP", lossless=True, **options)
        files[name] = webp.getvalue()
    png = io.BytesIO()
    rgb.save(png, "PNG", exif=turned)
    files["turned.png"] = png.getvalue()
    for name, mode in [("palette-transparent.png", "P"), ("grey-transparent.png", "L")]:
        png = io.BytesIO()
        image = rgb.quantize(16) if mode == "P" else grey.point(lambda v: v // 16 * 16)
        image.save(png, "PNG", transparency=3 if mode == "P" else 64)
        files[name] = png.getvalue()
    expected = {}
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        bands = 1 if image.mode == "L" else 3
        entry = {}
        if "transparent" in name:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            entry["holes"] = int((alpha == 0).sum())
        samples = np.asarray(image.convert("L" if bands == 1 else "RGB"))
        expected[name] = entry | {"size": image.size, "bands": bands, "samples": samples.ravel().tolist()}

    # The same pixels within TIFFs that GDAL writes. Pillow reads them by libtiff and libjpeg, which interpolates chroma;
    # GDAL repeats it.
    for name, options in {
        "ycbcr-strips.tif": dict(photometric="YCBCR", compress="jpeg", JPEG_QUALITY=92),
        "ycbcr-tiles.tif": dict(photometric="YCBCR", compress="jpeg", JPEG_QUALITY=92, tiled=True, blockxsize=16, blockysize=16),
    }.items():
        path = FOLDER / name
        profile = dict(driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint8")
        with rasterio.open(path, "w", **profile, **options) as file:
            file.write(np.moveaxis(colours(), -1, 0))
        samples = np.asarray(Image.open(path).convert("RGB"))
        expected[name] = {"size": [WIDTH, HEIGHT], "bands": 3, "samples": samples.ravel().tolist()}
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in expected.items())
    (FOLDER / "expected.json").write_text("{\n" + text + "\n}\n")


main()
