// The number of a workgroup in a linear grid that is folded into y at 65,535 groups.
fn group_index(group: vec3<u32>) -> u32 {
    return group.y * 65535u + group.x;
}

// The linear index of an invocation in such a grid of workgroups of 256.
fn linear_index(group: vec3<u32>, local: u32) -> u32 {
    return group_index(group) * 256u + local;
}
