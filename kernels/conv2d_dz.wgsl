// dz = dy where y > 0, else 0 (before a ReLU), written over dy, and db[o] = sum over n, oy, ox of dz[n, oy, ox, o].
// use: linear, conv, sum_lanes
//
// `main`: an invocation runs down one column o over a chunk of `p.chunk` pixels; `quads`: down four columns, where O is
// a multiple of 4. A workgroup is 64 of the (chunks, O) or (chunks, O / 4) such sums in a row. `total` adds the chunks in
// order: 16 columns a workgroup, each by 16 invocations, whose sums are added in pairs. The grid is folded into y.

@group(0) @binding(1) var<storage, read> y: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(1) var<storage, read> y4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(2) var<storage, read_write> dz: array<f32>; // (N, Ho, Wo, O)
@group(0) @binding(2) var<storage, read_write> dz4: array<vec4<f32>>; // (N, Ho, Wo, O / 4)
@group(0) @binding(3) var<storage, read_write> db: array<f32>; // (O)
@group(0) @binding(4) var<storage, read_write> partial: array<f32>; // (chunks, O)
@group(0) @binding(4) var<storage, read_write> partial4: array<vec4<f32>>; // (chunks, O / 4)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = group_index(group) * 64u + local;
    let chunk = at / p.o;
    if (chunk < p.chunks) {
        let end = min((chunk + 1u) * p.chunk, p.n * p.ho * p.wo);
        var sum = 0.0;
        for (var pixel = chunk * p.chunk; pixel < end; pixel++) {
            let i = pixel * p.o + (at - chunk * p.o);
            let d = select(0.0, dz[i], y[i] > 0.0);
            dz[i] = d;
            sum += d;
        }
        partial[at] = sum;
    }
}

fn gradient(dy: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), dy, y > vec4<f32>());
}

@compute @workgroup_size(64)
fn quads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let across = p.o / 4u;
    let at = group_index(group) * 64u + local;
    let chunk = at / across;
    if (chunk < p.chunks) {
        var i = chunk * p.chunk * across + (at - chunk * across);
        let count = min(p.chunk, p.n * p.ho * p.wo - chunk * p.chunk);
        var sum = vec4<f32>();
        // Four pixels at a time, all of whose loads are on their way together.
        for (var fours = count / 4u; fours > 0u; fours--) {
            let dy_0 = dz4[i];
            let dy_1 = dz4[i + across];
            let dy_2 = dz4[i + 2u * across];
            let dy_3 = dz4[i + 3u * across];
            let d_0 = gradient(dy_0, y4[i]);
            let d_1 = gradient(dy_1, y4[i + across]);
            let d_2 = gradient(dy_2, y4[i + 2u * across]);
            let d_3 = gradient(dy_3, y4[i + 3u * across]);
            dz4[i] = d_0;
            dz4[i + across] = d_1;
            dz4[i + 2u * across] = d_2;
            dz4[i + 3u * across] = d_3;
            sum += d_0;
            sum += d_1;
            sum += d_2;
            sum += d_3;
            i += 4u * across;
        }
        for (var left = count % 4u; left > 0u; left--) {
            let d = gradient(dz4[i], y4[i]);
            dz4[i] = d;
            sum += d;
            i += across;
        }
        partial4[at] = sum;
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
