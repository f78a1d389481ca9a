"""Which samples GDAL masks for a text in the nodata tag: what the tests of src/imaging/raster/nodata.rs expect.

    pip install rasterio==1.4.4 tifffile numpy
    python tools/goldens/nodata.py
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
import tifffile

warnings.filterwarnings("ignore")
FLOATS = np.array(
    [[1, -3.4028234663852886e38, -3.40282e38, np.nan, np.inf, -9999, 0, -9999.9, -9999.001]], "float32"
)
TEXTS = ["1.#QNAN", "-1.#IND", "1.#SNAN", "nan", "1.#INF", "inf", "-3.40282e+38", "-3.4028234663852886e+38", "-9999,0",
         " -9999 m", "-9999.9"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        for text in TEXTS:
            tifffile.imwrite(path, FLOATS, extratags=[(42113, "s", 0, text, True)])
            with rasterio.open(path) as file:
                print(repr(text), np.flatnonzero(file.dataset_mask() == 0).tolist())


main()
