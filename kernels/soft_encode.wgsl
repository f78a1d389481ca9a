// The K = 5 bins nearest to a colour, nearest first, ties to the lowest index, and Gaussian weights that sum to 1:
// weight_k = exp(-d_k^2 / (2 sigma^2)) / sum. The smallest d^2 is subtracted in the exponent: the same weights, and a
// colour far from every bin does not become 0 / 0. With Q < K bins the rest has index 0 and weight 0. A colour that is
// not finite, or so far away that no distance is, has weights of NaN at bin 0.
// Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 2.2.
// use: linear, nan
//
// One invocation a pixel, 256 in a workgroup; the bins pass through workgroup memory 256 at a time.

const K: u32 = 5u;
const TILE: u32 = 256u;
// Above every squared distance of colours: stands for "no bin yet".
const FAR: f32 = 3e38;

struct Params {
    pixels: u32,
    bins: u32,
    // 1 / (2 sigma^2)
    falloff: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ab: array<vec2<f32>>; // (N, H, W) of a, b
@group(0) @binding(2) var<storage, read> bins: array<vec2<f32>>; // (Q) of a, b
@group(0) @binding(3) var<storage, read_write> index: array<f32>; // (N, H, W, K), whole numbers 0 .. Q - 1
@group(0) @binding(4) var<storage, read_write> weight: array<f32>; // (N, H, W, K)

var<workgroup> tile: array<vec2<f32>, TILE>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixel = linear_index(group, local);
    let colour = ab[min(pixel, p.pixels - 1u)];
    var distance = array<f32, K>(FAR, FAR, FAR, FAR, FAR);
    var nearest = array<u32, K>(0u, 0u, 0u, 0u, 0u);

    for (var start = 0u; start < p.bins; start += TILE) {
        let count = min(TILE, p.bins - start);
        if (local < count) {
            tile[local] = bins[start + local];
        }
        workgroupBarrier();
        for (var i = 0u; i < count; i++) {
            let away = colour - tile[i];
            var d = dot(away, away);
            if (d < distance[K - 1u]) {
                // Insertion after the bins that are as near; from there on each moves one place back.
                var q = start + i;
                var placed = false;
                for (var k = 0u; k < K; k++) {
                    placed = placed || d < distance[k];
                    if (placed) {
                        let later_d = distance[k];
                        let later_q = nearest[k];
                        distance[k] = d;
                        nearest[k] = q;
                        d = later_d;
                        q = later_q;
                    }
                }
            }
        }
        workgroupBarrier();
    }

    if (pixel < p.pixels) {
        let known = is_finite(colour.x) && is_finite(colour.y) && distance[0] < FAR;
        var weights = array<f32, K>(0.0, 0.0, 0.0, 0.0, 0.0);
        var sum = 0.0;
        for (var k = 0u; k < min(K, p.bins); k++) {
            weights[k] = exp((distance[0] - distance[k]) * p.falloff);
            sum += weights[k];
        }
        for (var k = 0u; k < K; k++) {
            index[pixel * K + k] = select(0.0, f32(nearest[k]), known);
            weight[pixel * K + k] = select(make_nan(sum), weights[k] / sum, known);
        }
    }
}
