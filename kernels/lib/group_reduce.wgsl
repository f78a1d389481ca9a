// Sum and maximum over a workgroup of 64; every invocation of it must call, and gets the result. A binary tree: the
// order is fixed, and the rounding error grows with the tree's depth only.
const GROUP: u32 = 64u;

var<workgroup> group_values: array<f32, GROUP>;

fn group_sum(value: f32, local: u32) -> f32 {
    group_values[local] = value;
    workgroupBarrier();
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            group_values[local] += group_values[local + half];
        }
        workgroupBarrier();
    }
    let result = group_values[0];
    workgroupBarrier();
    return result;
}

fn group_max(value: f32, local: u32) -> f32 {
    group_values[local] = value;
    workgroupBarrier();
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        if (local < half) {
            group_values[local] = max(group_values[local], group_values[local + half]);
        }
        workgroupBarrier();
    }
    let result = group_values[0];
    workgroupBarrier();
    return result;
}
