// The linear index of an invocation in a grid of workgroups of 256 that is folded into y at 65,535 groups.
fn linear_index(group: vec3<u32>, local: u32) -> u32 {
    return (group.y * 65535u + group.x) * 256u + local;
}
