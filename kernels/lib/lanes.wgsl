// The place of an invocation among 32 that share 4 rows and 8 columns of quads. Neighbours differ in the row or the
// column alone, pairs and pairs of pairs: a read of workgroup memory that has the same address in both halves of each
// pair takes an NVIDIA card half the time.
fn lane_row(local: u32) -> u32 {
    return local % 2u + local / 8u % 2u * 2u;
}

fn lane_column(local: u32) -> u32 {
    return local / 2u % 4u + local / 16u % 2u * 4u;
}
