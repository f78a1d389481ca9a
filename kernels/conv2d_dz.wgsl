// dz = dy where y > 0, else 0 (the gradient before a ReLU), and db[o] = sum over n, oy, ox of dz[n, oy, ox, o].
// use: linear, conv
//
// `main`: an invocation runs down one column o over a chunk of `p.chunk` pixels, 64 columns in a workgroup; `quads`:
// down four columns, where O is a multiple of 4, and a workgroup is 64 of the (chunks, O / 4) quads in a row; `total`
// adds the chunks in order. The grid is folded into y.

@group(0) @binding(1) var<storage, read> dy: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(1) var<storage, read> dy4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(2) var<storage, read> y: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(3) var<storage, read_write> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(3) var<storage, read_write> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(4) var<storage, read_write> db: array<f32>; // (O)
@group(0) @binding(5) var<storage, read_write> partial: array<f32>; // (chunks, O)
@group(0) @binding(5) var<storage, read_write> partial4: array<vec4<f32>>; // (chunks, O / 4)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let columns = (p.o + 63u) / 64u;
    let chunk = group_index(group) / columns;
    let o = group_index(group) % columns * 64u + local;
    if (o < p.o && chunk < p.chunks) {
        let end = min((chunk + 1u) * p.chunk, p.n * p.ho * p.wo);
        var sum = 0.0;
        for (var pixel = chunk * p.chunk; pixel < end; pixel++) {
            let i = pixel * p.o + o;
            let d = select(0.0, dy[i], y[i] > 0.0);
            dz[i] = d;
            sum += d;
        }
        partial[chunk * p.o + o] = sum;
    }
}

@compute @workgroup_size(64)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let across = p.o / 4u;
    let at = group_index(group) * 64u + local;
    let chunk = at / across;
    if (chunk < p.chunks) {
        let end = min((chunk + 1u) * p.chunk, p.n * p.ho * p.wo);
        var sum = vec4<f32>();
        for (var pixel = chunk * p.chunk; pixel < end; pixel++) {
            let i = pixel * across + (at - chunk * across);
            let d = select(vec4<f32>(), dy4[i], y4[i] > vec4<f32>());
            dz4[i] = d;
            sum += d;
        }
        partial4[at] = sum;
    }
}

@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let o = group_index(group) * 64u + local;
    if (o < p.o) {
        var sum = 0.0;
        for (var chunk = 0u; chunk < p.chunks; chunk++) {
            sum += partial[chunk * p.o + o];
        }
        db[o] = sum;
    }
}
