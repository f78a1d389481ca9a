//! The order of axes, which differs between programs.

/// A tensor with its axes in another order: axis `k` of the result is axis `order[k]` of what was.
pub fn permuted(shape: [usize; 4], values: &[f32], order: [usize; 4]) -> ([usize; 4], Vec<f32>) {
    let steps = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
    let (sizes, steps) = (order.map(|axis| shape[axis]), order.map(|axis| steps[axis]));
    let mut out = Vec::with_capacity(values.len());
    for a in 0..sizes[0] {
        for b in 0..sizes[1] {
            for c in 0..sizes[2] {
                let first = a * steps[0] + b * steps[1] + c * steps[2];
                out.extend((0..sizes[3]).map(|d| values[first + d * steps[3]]));
            }
        }
    }
    (sizes, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places_and_back() {
        let values: Vec<f32> = (0..120).map(|v| v as f32).collect();
        let (shape, there) = permuted([2, 3, 4, 5], &values, [3, 2, 0, 1]);
        assert_eq!((shape, there[1]), ([5, 4, 2, 3], 20.0));
        assert_eq!(permuted(shape, &there, [2, 3, 1, 0]), ([2, 3, 4, 5], values));
    }
}
