"""Small GeoTIFF files as GDAL writes them, for the tests of the raster reader: tests/fixtures/raster/*.tif.

The samples follow one formula, `samples` below, which the tests know too: the files need no expected values beside them.

    pip install rasterio==1.4.4 numpy
    python tools/goldens/raster.py
"""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

FOLDER = Path(__file__).parents[2] / "tests" / "fixtures" / "raster"
WIDTH, HEIGHT = 29, 21
TILES = dict(tiled=True, blockxsize=16, blockysize=16)


def samples(bands, sample):
    """A ramp with a fold in it: `v = (7x + 13y + 29b + xy) mod 251`, as a type of its own from there."""
    b, y, x = np.mgrid[:bands, :HEIGHT, :WIDTH]
    v = (7 * x + 13 * y + 29 * b + x * y) % 251
    scale, offset = {
        "uint8": (1, 0),
        "int8": (1, -125),
        "uint16": (257, 0),
        "int16": (200, -25000),
        "uint32": (65536, 3),
        "int32": (65536, -8000000),
        "uint64": (2**56, 0),
        "int64": (2**33, -(2**40)),
        "float32": (0.25, -10),
        "float64": (0.25, -10),
    }[sample]
    return v.astype(sample) * np.dtype(sample).type(scale) + np.dtype(sample).type(offset)


def write(name, data, mask=None, overviews=False, **options):
    path = FOLDER / f"{name}.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=data.shape[2],
            height=data.shape[1],
            count=data.shape[0],
            dtype=data.dtype,
            crs="EPSG:32633",
            transform=from_origin(500000, 5000000, 10, 10),
            **options,
        ) as file:
            file.write(data)
            if mask is not None:
                file.write_mask(mask)
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4])


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    write("u8-packbits", samples(1, "uint8"), compress="packbits", blockysize=7)
    write("i8-lzw-planar", samples(2, "int8"), compress="lzw", predictor=2, interleave="band", blockysize=10)
    write("u16-lzw-big-endian", samples(5, "uint16"), compress="lzw", predictor=2, photometric="RGB", ENDIANNESS="BIG")
    write("i16-deflate-planar-tiles", samples(2, "int16"), compress="deflate", predictor=2, interleave="band", **TILES)
    write("u32-bigtiff-big-endian", samples(1, "uint32"), bigtiff="YES", ENDIANNESS="BIG", blockysize=HEIGHT)
    write("i32-zstd-tiles", samples(1, "int32"), compress="zstd", predictor=2, **TILES)
    write("u64-deflate-big-endian", samples(2, "uint64"), compress="deflate", predictor=2, ENDIANNESS="BIG", blockysize=10)
    write("i64-zstd-tiles", samples(1, "int64"), compress="zstd", predictor=2, **TILES)
    write("i64-nodata", np.broadcast_to(2**53 - 1 + x % 3, (1, HEIGHT, WIDTH)), compress="deflate", nodata=2**53)
    write("f32-zstd-big-endian", samples(1, "float32"), compress="zstd", predictor=3, ENDIANNESS="BIG", blockysize=10)
    write("f64-deflate-bigtiff-tiles", samples(3, "float64"), compress="deflate", predictor=3, bigtiff="YES", **TILES)
    write("bits1", samples(1, "uint8") % 2, NBITS=1, compress="deflate")
    write("bits4-tiles", samples(3, "uint8") % 16, NBITS=4, compress="lzw", **TILES)

    sparse = np.full((1, HEIGHT, WIDTH), -5, "int16")
    sparse[0, :10, :10] = 9
    write("sparse", sparse, SPARSE_OK="TRUE", compress="deflate", nodata=-5, **TILES)
    write("mask-overviews", samples(1, "uint8"), mask=(x + 2 * y) % 5 != 0, overviews=True, compress="deflate", **TILES)
    smooth = np.stack([8 * x, 10 * y, 255 - 4 * x - 4 * y]).astype("uint8")
    write("jpeg-ycbcr-tiles", smooth, compress="jpeg", photometric="YCBCR", JPEG_QUALITY=95, **TILES)
    write("jpeg-rgb-strips", smooth, compress="jpeg", photometric="RGB", JPEG_QUALITY=95, blockysize=16)
    lerc = dict(compress="lerc", MAX_Z_ERROR=0)
    write("i16-lerc-tiles", samples(2, "int16"), **lerc, **TILES)
    write("u8-lerc-planar", samples(2, "uint8"), interleave="band", blockysize=10, **lerc)
    write("f64-lerc-big-endian", samples(1, "float64"), ENDIANNESS="BIG", blockysize=10, **lerc)
    holes = samples(1, "float32")
    holes[0, (x + 2 * y) % 5 == 0] = np.nan
    write("f32-lerc-holes", holes, compress="lerc_deflate", MAX_Z_ERROR=0, blockysize=10)
    write("u32-lerc-zstd", samples(1, "uint32"), compress="lerc_zstd", MAX_Z_ERROR=0, **TILES)
    opaque = np.where((x + 2 * y) % 5 == 0, 0, 255).astype("uint8")
    write("u8-lerc-alpha", np.stack([*samples(3, "uint8"), opaque]), photometric="RGB", ALPHA="NON-PREMULTIPLIED", **lerc)
    write("webp-tiles", samples(3, "uint8"), compress="webp", WEBP_LOSSLESS="TRUE", photometric="RGB", **TILES)
    opaque[:16, :16] = 255
    alpha = np.stack([*samples(3, "uint8"), opaque])
    write("webp-alpha", alpha, compress="webp", WEBP_LOSSLESS="TRUE", photometric="RGB", ALPHA="YES", **TILES)


if __name__ == "__main__":
    main()
