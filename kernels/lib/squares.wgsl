// Images in squares of 16 x 16 pixels, a workgroup each, in one linear grid that is folded into y: across, down, then
// image by image (or plane by plane).
struct Square {
    x: u32, // the invocation's pixel
    y: u32,
    image: u32,
}

fn square(group: vec3<u32>, local: u32, width: u32, height: u32) -> Square {
    let across = (width + 15u) / 16u;
    let down = (height + 15u) / 16u;
    let line = group_index(group) / across;
    return Square(
        group_index(group) % across * 16u + local % 16u,
        line % down * 16u + local / 16u,
        line / down,
    );
}
