// dx[n, i, j, c] = the sum of dy over the output pixels that read x[n, i, j, c], each times the weight it read it with.
// use: linear
//
// Along one axis that weight is max(0, 1 - |place - i|), place = (output + 1/2) / k - 1/2 held within 0..H-1. `main`:
// one invocation an input element gathers its about 2k x 2k output pixels. Large factors take two dispatches, so that
// no invocation loops for long and more share the work: `across` gathers along the rows, `down` along the columns. 256
// in a workgroup; the grid is folded into y.

struct Params {
    len: u32, // N H W C
    height: u32, // H
    width: u32, // W
    channels: u32, // C
    factor: u32, // k
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, kH, kW, C)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (N, H, W, C)
@group(0) @binding(3) var<storage, read_write> rows: array<f32>; // (N, kH, W, C)

// The weight with which output `at` reads input `i` of `size`.
fn weight(at: u32, i: u32, size: u32) -> f32 {
    // Places in units of 1 / 2k from the centre of input 0, whole and so exact.
    let unit = 2 * i32(p.factor);
    let place = clamp(2 * i32(at) + 1 - i32(p.factor), 0, unit * i32(size - 1u));
    return f32(max(unit - abs(place - unit * i32(i)), 0)) / f32(unit);
}

// First output that reads input `i`, and one past the last.
fn first_reader(i: u32) -> u32 {
    return max(p.factor * i, p.factor / 2u) - p.factor / 2u;
}

fn past_readers(i: u32, size: u32) -> u32 {
    return min(p.factor * (i + 1u) + p.factor / 2u, p.factor * size);
}

// What the pixels of row `line` of all rows of dy give to column j.
fn gather_row(line: u32, j: u32, c: u32) -> f32 {
    var sum = 0.0;
    for (var b = first_reader(j); b < past_readers(j, p.width); b++) {
        sum += weight(b, j, p.width) * dy[(line * p.factor * p.width + b) * p.channels + c];
    }
    return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let pixel = at / p.channels;
        let i = pixel / p.width % p.height;
        let image = pixel / p.width / p.height * p.factor * p.height;
        var sum = 0.0;
        for (var a = first_reader(i); a < past_readers(i, p.height); a++) {
            sum += weight(a, i, p.height) * gather_row(image + a, pixel % p.width, at % p.channels);
        }
        dx[at] = sum;
    }
}

@compute @workgroup_size(256)
fn across(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len * p.factor) {
        let pixel = at / p.channels;
        rows[at] = gather_row(pixel / p.width, pixel % p.width, at % p.channels);
    }
}

@compute @workgroup_size(256)
fn down(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local);
    if (at < p.len) {
        let small = p.width * p.channels;
        let i = at / small % p.height;
        let image = at / small / p.height * p.factor * p.height;
        var sum = 0.0;
        for (var a = first_reader(i); a < past_readers(i, p.height); a++) {
            sum += weight(a, i, p.height) * rows[(image + a) * small + at % small];
        }
        dx[at] = sum;
    }
}
