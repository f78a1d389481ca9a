// db[o] = sum over n, oy, ox of dy[n, oy, ox, o]: the bias gradient where no activation follows.
// use: linear, conv, sum_lanes
//
// `main`: an invocation runs down one column o over a chunk of `p.chunk` pixels; a workgroup is 64 of the (chunks, O)
// such sums in a row. `total` adds the chunks in order: 16 columns a workgroup, each by 16 invocations, whose sums are
// added in pairs. `few`, of few pixels: as `total` of the pixels themselves, by up to 256 invocations where the columns
// are fewer than 16. The grid is folded into y.

@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read_write> db: array<f32>; // (O)
@group(0) @binding(3) var<storage, read_write> partial: array<f32>; // (chunks, O)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group) * 64u + local;
    let chunk = at / p.o;
    if (chunk < p.chunks) {
        var i = chunk * p.chunk * p.o + (at - chunk * p.o);
        let count = min(p.chunk, p.n * p.ho * p.wo - chunk * p.chunk);
        var sum = 0.0;
        // Four pixels at a time, all of whose loads are on their way together.
        for (var fours = count / 4u; fours > 0u; fours--) {
            let dy_0 = dy[i];
            let dy_1 = dy[i + p.o];
            let dy_2 = dy[i + 2u * p.o];
            let dy_3 = dy[i + 3u * p.o];
            sum += dy_0;
            sum += dy_1;
            sum += dy_2;
            sum += dy_3;
            i += 4u * p.o;
        }
        for (var left = count % 4u; left > 0u; left--) {
            sum += dy[i];
            i += p.o;
        }
        partial[at] = sum;
    }
}

@compute @workgroup_size(256)
fn few(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // Columns of a workgroup.
    var keep = 1u;
    while (keep < min(p.o, 16u)) {
        keep *= 2u;
    }
    let o = group_index(group) * keep + local % keep;
    var sum = 0.0;
    if (o < p.o) {
        for (var pixel = local / keep; pixel < p.n * p.ho * p.wo; pixel += 256u / keep) {
            sum += dy[pixel * p.o + o];
        }
    }
    sum = sum_lanes(local, sum, keep);
    if (local < keep && o < p.o) {
        db[o] = sum;
    }
}

@compute @workgroup_size(256)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let o = group_index(group) * 16u + local % 16u;
    var sum = 0.0;
    if (o < p.o) {
        for (var chunk = local / 16u; chunk < p.chunks; chunk += 16u) {
            sum += partial[chunk * p.o + o];
        }
    }
    sum = sum_lanes(local, sum, 16u);
    if (local < 16u && o < p.o) {
        db[o] = sum;
    }
}
