// The place of an invocation among 32 that share 4 rows and 8 columns of quads. Neighbours differ in the row or the
// column alone, pairs and pairs of pairs, so that in each pair one of the two reads has the same address: products took
// 0.84 to 0.99 of the time on the card where it was measured (benches/REJECTED.md).
fn lane_row(local: u32) -> u32 {
    return local % 2u + local / 8u % 2u * 2u;
}

fn lane_column(local: u32) -> u32 {
    return local / 2u % 4u + local / 16u % 2u * 4u;
}
