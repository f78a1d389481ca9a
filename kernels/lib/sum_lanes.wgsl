// Sums over the 256 invocations of a workgroup, in a fixed order. `keep`, a power of two up to 256 and the same for
// all, is the number of separate sums: invocations with the same `local % keep` add up, and all of them get their sum.
var<workgroup> lanes: array<f32, 256>;

fn sum_lanes(local: u32, value: f32, keep: u32) -> f32 {
    // Nobody may still be reading the sum before.
    workgroupBarrier();
    lanes[local] = value;
    workgroupBarrier();
    // Always as many turns: Mesa 26.2's llvmpipe errs where `keep` ends the loop.
    for (var half = 128u; half >= 1u; half /= 2u) {
        if (half >= keep && local < half) {
            lanes[local] += lanes[local + half];
        }
        workgroupBarrier();
    }
    return lanes[local % keep];
}
