"""Files as published programs write them, with random weights at a small width, and what those programs make of an image.

    python tools/goldens/published.py [WIDTH [FOLDER]]

WIDTH divides the published channels (32; 1 is the published network), FOLDER is tests/goldens/published. numpy alone:
the layers are written here in f64 from the programs' sources, and files of PyTorch by Python's own pickle and zip, with
the names that `torch.save` puts into them.

eccv16.pth         richzhang/colorization, colorizers/eccv16.py: `ECCVGenerator(pretrained=False)`, in evaluation mode
unet_256.pth       junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py: `define_G(3, 3, ngf, "unet_256", "batch")`, in
                   evaluation mode; elements of 16 bits
patchgan.pth       the same: `define_D(6, ndf, "basic", norm="batch")`; as PyTorch wrote before version 1.6
tutorial.npz       tensorflow.org/tutorials/generative/pix2pix: `numpy.savez(FILE, *generator.get_weights())`, by the running
                   statistics
*.out.npy          the image, sRGB 0..1 [H, W, 3]: of the U-Nets every eighth pixel
"""
import collections
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np

BINS = 313


def source(height, width):
    """An image of 8 bits by a formula that the test knows: grey 0..1."""
    y, x = np.mgrid[:height, :width]
    return ((x * 5 + y * 3 + (x * y) % 53) % 256) / 255.0


def conv(x, w, b=None, stride=1, dilation=1, pad=0):
    """x [C, H, W], w [O, C, kh, kw]."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    o, _, kh, kw = w.shape
    height = (x.shape[1] - (kh - 1) * dilation - 1) // stride + 1
    width = (x.shape[2] - (kw - 1) * dilation - 1) // stride + 1
    y = np.zeros((o, height, width))
    for i in range(kh):
        for j in range(kw):
            part = x[:, i * dilation:, j * dilation:][:, : stride * height : stride, : stride * width : stride]
            y += np.tensordot(w[:, :, i, j], part, 1)
    return y if b is None else y + b[:, None, None]


def conv_transposed(x, w, b=None):
    """4x4, stride 2, padding 1; w [C, O, 4, 4]."""
    _, o, k, _ = w.shape
    height, width = x.shape[1:]
    y = np.zeros((o, 2 * height + 2, 2 * width + 2))
    for i in range(k):
        for j in range(k):
            y[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += np.tensordot(w[:, :, i, j].T, x, 1)
    y = y[:, 1:-1, 1:-1]
    return y if b is None else y + b[:, None, None]


def batch_norm(x, gamma, beta, mean, var, eps):
    scale = gamma / np.sqrt(var + eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]


def norm_of(rng, x):
    """Gamma, beta, mean and variance of a batch norm that has seen images as x. Kernels are small, so that variances are,
    and what is added to them shows."""
    n = len(x)
    near = lambda low, high: rng.uniform(low, high, n)
    var = (x.var(axis=(1, 2)) + 0.1 * (x**2).mean(axis=(1, 2))) * near(0.5, 1.5) + 1e-6
    mean = x.mean(axis=(1, 2)) + 0.3 * np.sqrt(var) * near(-1, 1)
    return near(0.5, 1.5), near(-0.4, 0.4), mean, var


def relu(x):
    return np.maximum(x, 0)


def leaky(x, slope):
    return np.where(x < 0, slope * x, x)


def lab_to_srgb(lab):
    """[3, H, W] to [H, W, 3], as scikit-image has it."""
    fy = (lab[0] + 16) / 116
    f = np.stack([fy + lab[1] / 500, fy, fy - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.95047, 1, 1.08883])[:, None, None]
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    rgb = np.clip(np.tensordot(np.linalg.inv(matrix), xyz, 1), 0, 1)
    return np.where(rgb > 0.0031308, 1.055 * rgb ** (1 / 2.4) - 0.055, 12.92 * rgb).transpose(1, 2, 0)


class Weights:
    """Random tensors by their names, rounded as the file has them."""

    def __init__(self, seed, dtype="<f4"):
        self.rng, self.dtype, self.tensors = np.random.default_rng(seed), dtype, collections.OrderedDict()

    def add(self, name, values):
        self.tensors[name] = np.ascontiguousarray(values, dtype=self.dtype)
        return self.tensors[name].astype("f8")

    def kernel(self, name, *shape, fan=None, gain=0.02):
        fan = fan or int(np.prod(shape[1:]))
        return self.add(name, self.rng.normal(0, np.sqrt(gain / fan), shape))

    def bias(self, name, n):
        return self.add(name, self.rng.normal(0, 0.1, n))

    def norm(self, name, x):
        """Of x, by statistics near its own."""
        parts = zip(("weight", "bias", "running_mean", "running_var"), norm_of(self.rng, x))
        parts = [self.add(f"{name}.{part}", values) for part, values in parts]
        self.tensors[f"{name}.num_batches_tracked"] = np.array(7, "<i8")
        return batch_norm(x, *parts, 1e-5)


def save_torch(tensors, path, legacy=False):
    """As `torch.save(state_dict, path)` does since version 1.6, or did before."""
    kinds = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def rebuild(*_):
        raise NotImplementedError

    def named(module, name, value):
        value.__module__, value.__qualname__, value.__name__ = module.__name__, name, name
        setattr(module, name, value)
        return value

    named(utils, "_rebuild_tensor_v2", rebuild)
    storages = {kind: named(torch, name, type(name, (), {})) for kind, name in kinds.items()}
    sys.modules.update({"torch": torch, "torch._utils": utils})

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = key, array

        def __reduce__(self):
            strides = tuple(stride // self.array.itemsize for stride in self.array.strides)
            state = (self.storage(), 0, self.array.shape, strides, False, collections.OrderedDict())
            return rebuild, state

        def storage(self):
            storage = Storage()
            view = (None,) if legacy else ()
            storage.of = ("storage", storages[self.array.dtype.str], str(self.key), "cpu", self.array.size, *view)
            return storage

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.of if isinstance(thing, Storage) else None

    state = collections.OrderedDict((name, Tensor(k, array)) for k, (name, array) in enumerate(tensors.items()))
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(state)
    if legacy:
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)] + [data.getvalue()]
        parts.append(pickle.dumps([str(k) for k in range(len(tensors))], 2))
        for array in tensors.values():
            parts += [np.int64(array.size).tobytes(), array.tobytes()]
        path.write_bytes(b"".join(parts))
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        # Times of writing would differ.
        put = lambda name, what: archive.writestr(zipfile.ZipInfo(f"archive/{name}"), what)
        put("data.pkl", data.getvalue())
        put("byteorder", b"little")
        for k, array in enumerate(tensors.values()):
            put(f"data/{k}", array.tobytes())
        put("version", b"3\n")


def save(folder, name, image):
    np.save(folder / f"{name}.out.npy", image.astype("<f4"))
    print(f"{name}: {image.shape}, spread {image.std(axis=(0, 1))}")


def eccv16(folder, width):
    w = Weights(1)
    c = lambda n: max(2, n // width)
    lightness = 100 * source(40, 48)
    x = (lightness[None] - 50) / 100
    blocks = [[(64, 1), (64, 2)], [(128, 1), (128, 2)], [(256, 1), (256, 1), (256, 2)]] + 4 * [3 * [(512, 1)]]
    before = 1
    for block, convs in enumerate(blocks, 1):
        dilation = 2 if block in (5, 6) else 1
        for i, (out, stride) in enumerate(convs):
            layer = f"model{block}.{2 * i}"
            kernel, bias = w.kernel(f"{layer}.weight", c(out), before, 3, 3), w.bias(f"{layer}.bias", c(out))
            x, before = relu(conv(x, kernel, bias, stride, dilation, dilation)), c(out)
        x = w.norm(f"model{block}.{2 * len(convs)}", x)
    kernel, bias = w.kernel("model8.0.weight", before, c(256), 4, 4, fan=4 * before, gain=2), w.bias("model8.0.bias", c(256))
    x = relu(conv_transposed(x, kernel, bias))
    for i in (2, 4):
        kernel, bias = w.kernel(f"model8.{i}.weight", c(256), c(256), 3, 3, gain=2), w.bias(f"model8.{i}.bias", c(256))
        x = relu(conv(x, kernel, bias, pad=1))
    bins = BINS if width == 1 else BINS // width + 3
    x = conv(x, w.kernel("model8.6.weight", bins, c(256), 1, 1, gain=30), w.bias("model8.6.bias", bins))
    x = np.exp(x - x.max(0))
    x /= x.sum(0)
    colours = w.add("model_out.weight", w.rng.uniform(-0.6, 0.6, (2, bins, 1, 1)))
    ab = conv(x, colours)
    place = lambda n: np.clip((np.arange(4 * n) + 0.5) / 4 - 0.5, 0, n - 1)
    rows, columns = place(ab.shape[1]), place(ab.shape[2])
    at = lambda axis, places, n: (
        np.take(ab, np.floor(places).astype(int), axis),
        np.take(ab, np.minimum(np.floor(places).astype(int) + 1, n - 1), axis),
    )
    upper, lower = at(1, rows, ab.shape[1])
    share = (rows - np.floor(rows))[None, :, None]
    ab = upper * (1 - share) + lower * share
    left, right = at(2, columns, ab.shape[2])
    share = (columns - np.floor(columns))[None, None]
    ab = 110 * (left * (1 - share) + right * share)
    save_torch(w.tensors, folder / "eccv16.pth")
    save(folder, "eccv16", lab_to_srgb(np.concatenate([lightness[None], ab])))


def shown(x):
    """Every eighth pixel of -1..1."""
    return ((x + 1) / 2).transpose(1, 2, 0)[::8, ::8]


def unet(folder, width):
    w = Weights(2, "<f2")
    ngf = 64 // width
    inner = [ngf, 2 * ngf, 4 * ngf] + 5 * [8 * ngf]

    def block(k, x):
        """The k-th block from outside; every activation is in place, so that what skips has passed the first."""
        prefix = "model.model" + "".join(".1.model" if i == 1 else ".3.model" for i in range(1, k))
        outermost, innermost = k == 1, k == 8
        outer = 3 if outermost else inner[k - 2]
        name = f"{prefix}.{0 if outermost else 1}.weight"
        kernel = w.kernel(name, inner[k - 1], 3 if outermost else outer, 4, 4)
        skip = x if outermost else leaky(x, 0.2)
        x = conv(skip, kernel, stride=2, pad=1)
        if not outermost and not innermost:
            x = w.norm(f"{prefix}.2", x)
        if not innermost:
            x = block(k + 1, x)
        up = 3 if outermost or innermost else 5
        kernel = w.kernel(f"{prefix}.{up}.weight", x.shape[0], outer, 4, 4, fan=4 * x.shape[0], gain=1 if outermost else 0.02)
        if outermost:
            return np.tanh(conv_transposed(relu(x), kernel, w.bias(f"{prefix}.3.bias", 3)))
        x = conv_transposed(relu(x), kernel)
        return np.concatenate([skip, w.norm(f"{prefix}.{up + 1}", x)])

    grey = 2 * source(256, 256) - 1
    image = block(1, np.stack([grey, grey, grey]))
    save_torch(w.tensors, folder / "unet_256.pth")
    save(folder, "unet_256", shown(image))

    w = Weights(3)
    before = 6
    for k, out in ((0, 1), (2, 2), (5, 4), (8, 8)):
        w.kernel(f"model.{k}.weight", out * ngf, before, 4, 4)
        if k == 0:
            w.bias("model.0.bias", ngf)
        else:
            w.norm(f"model.{k + 1}", w.rng.normal(0, 0.1, (out * ngf, 3, 3)))
        before = out * ngf
    w.kernel("model.11.weight", 1, before, 4, 4)
    w.bias("model.11.bias", 1)
    save_torch(w.tensors, folder / "patchgan.pth", legacy=True)


def tutorial(folder, width):
    rng, arrays = np.random.default_rng(4), []
    filters = 64 // width

    def add(values):
        arrays.append(np.ascontiguousarray(values, "<f4"))
        return arrays[-1].astype("f8")

    def norm(x):
        return batch_norm(x, *[add(part) for part in norm_of(rng, x)], 1e-3)

    def kernel(c_in, c_out, fan, transposed, gain=0.02):
        """[4, 4, c_in, c_out], or with the last two axes exchanged; as conv here wants it."""
        shape = (4, 4, c_out, c_in) if transposed else (4, 4, c_in, c_out)
        return add(rng.normal(0, np.sqrt(gain / fan), shape)).transpose(3, 2, 0, 1)

    grey = 2 * source(256, 256) - 1
    x = np.stack([grey, grey, grey])
    skips = []
    for k, times in enumerate((1, 2, 4, 8, 8, 8, 8, 8)):
        x = conv(x, kernel(x.shape[0], times * filters, 16 * x.shape[0], False), stride=2, pad=1)
        x = leaky(norm(x) if k else x, 0.3)
        skips.append(x)
    for times, skip in zip((8, 8, 8, 8, 4, 2, 1), skips[-2::-1]):
        x = relu(norm(conv_transposed(x, kernel(x.shape[0], times * filters, 4 * x.shape[0], True))))
        x = np.concatenate([x, skip])
    last = kernel(x.shape[0], 3, 4 * x.shape[0], True, gain=1)
    image = np.tanh(conv_transposed(x, last, add(rng.normal(0, 0.1, 3))))
    with zipfile.ZipFile(folder / "tutorial.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, array in enumerate(arrays):
            data = io.BytesIO()
            np.save(data, array)
            archive.writestr(zipfile.ZipInfo(f"arr_{k}.npy"), data.getvalue(), zipfile.ZIP_DEFLATED)
    save(folder, "tutorial", shown(image))


if __name__ == "__main__":
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "tests/goldens/published")
    folder.mkdir(parents=True, exist_ok=True)
    eccv16(folder, width)
    unet(folder, width)
    tutorial(folder, width)
