// db[o] = sum over n, oy, ox of dy[n, oy, ox, o]: the bias gradient where no activation follows.
// use: conv
//
// `main`: an invocation runs down one column o over a chunk of `p.chunk` pixels (y of the grid), 64 columns in a workgroup; `total`
// adds the chunks in order.

@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read_write> db: array<f32>; // (O)
@group(0) @binding(3) var<storage, read_write> partial: array<f32>; // (chunks, O)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let o = group.x * 64u + local;
    if (o < p.o) {
        let end = min((group.y + 1u) * p.chunk, p.n * p.ho * p.wo);
        var sum = 0.0;
        for (var pixel = group.y * p.chunk; pixel < end; pixel++) {
            sum += dy[pixel * p.o + o];
        }
        partial[group.y * p.o + o] = sum;
    }
}

@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let o = group.x * 64u + local;
    if (o < p.o) {
        var sum = 0.0;
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            sum += partial[chunk * p.o + o];
        }
        db[o] = sum;
    }
}
