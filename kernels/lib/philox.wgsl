// Philox 4x32-10 (Salmon et al., SC 2011): four random words as a pure function of a counter
// (index, index high, step, stream) and a key (seed low, seed high). Words and uniforms are those of random.rs bit for
// bit, normals up to the accuracy of the adapter's logarithm and cosine.

// The 64-bit product of two words as (low, high), by 16-bit halves: WGSL has no 64-bit integers.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let mid = a1 * b0 + (low >> 16u);
    let cross = a0 * b1 + (mid & 0xffffu);
    return vec2<u32>(a * b, a1 * b1 + (mid >> 16u) + (cross >> 16u));
}

fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        if (round > 0u) {
            key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
        }
        let p0 = mul_wide(0xD2511F53u, c.x);
        let p1 = mul_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(p1.y ^ c.y ^ key.x, p1.x, p0.y ^ c.w ^ key.y, p0.x);
    }
    return c;
}

// 24 high bits of a word as a float in [0, 1).
fn unit(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// Two standard normals from two words (Box-Muller); 1 - u lies in (0, 1], so that the logarithm is finite. WGSL lets
// the logarithm be a little off, above 0 too, and vouches for sine and cosine between -pi and pi: hence the max and the
// half turn.
fn box_muller(first: u32, second: u32) -> vec2<f32> {
    let radius = sqrt(max(-2.0 * log(1.0 - unit(first)), 0.0));
    let angle = 6.283185307179586 * (unit(second) - 0.5);
    return vec2<f32>(-radius * cos(angle), -radius * sin(angle));
}
