//! The transforms of Winograd's filtering on 6x6 tiles, on [`LANES`] channels at once. `B` is that of F(4x4, 3x3) in
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, and so are `A` and `G` of [`three`];
//! those of [`two`] and [`four`] have lower and higher powers of the same points.
//!
//! All are inlined always, so that they are compiled for the vectors of their caller.

/// Values that the transforms work on at once.
pub const LANES: usize = 16;
/// One value of each channel.
pub type Lanes = [f32; LANES];

/// The first values.
#[inline(always)]
pub fn lanes(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&values[..LANES]);
    lanes
}

/// The channels `c..` of a pixel, zero outside the picture.
#[inline(always)]
pub fn pixel(x: &[f32], channels: usize, pixel: Option<usize>, c: usize) -> Lanes {
    static ZEROS: Lanes = [0.0; LANES];
    // A choice of places, not of values: those would lie in memory first.
    let place = match pixel {
        Some(pixel) => &x[pixel * channels + c..][..LANES],
        None => &ZEROS,
    };
    lanes(place)
}

/// What a transform keeps between its axes: made once for many squares, since to clear it takes as long as a transform.
/// On a cache line: otherwise each of its vectors would touch two.
#[repr(align(64))]
pub struct Rows([[Lanes; 6]; 6]);

/// [`Rows`] to begin with.
pub const ROWS: Rows = Rows([[[0.0; LANES]; 6]; 6]);

/// A transform along both axes of the square whose values `read` gives by their place, `S * row + column`; `write`
/// takes those of the result, `T * row + column`.
#[inline(always)]
pub fn two_sided<const S: usize, const T: usize>(
    Rows(rows): &mut Rows,
    read: impl Fn(usize) -> Lanes,
    transform: impl Fn(&[Lanes; S]) -> [Lanes; T],
    mut write: impl FnMut(usize, &Lanes),
) {
    // Loops, not `map` on arrays: that is not always inlined, and then copies every square through memory.
    for (i, row) in rows[..S].iter_mut().enumerate() {
        let mut line = [[0.0; LANES]; S];
        for (j, value) in line.iter_mut().enumerate() {
            *value = read(i * S + j);
        }
        row[..T].copy_from_slice(&transform(&line));
    }
    for column in 0..T {
        let mut line = [[0.0; LANES]; S];
        for (value, row) in line.iter_mut().zip(rows.iter()) {
            *value = row[column];
        }
        for (row, value) in transform(&line).iter().enumerate() {
            write(row * T + column, value);
        }
    }
}

/// `B^T d` along one axis.
#[inline(always)]
pub fn input_transform(d: &[Lanes; 6]) -> [Lanes; 6] {
    let mut t = [[0.0; LANES]; 6];
    for l in 0..LANES {
        let even = d[4][l] - 4.0 * d[2][l];
        let odd = d[3][l] - 4.0 * d[1][l];
        let even_half = d[4][l] - d[2][l];
        let odd_half = 2.0 * (d[3][l] - d[1][l]);
        t[0][l] = 4.0 * d[0][l] - 5.0 * d[2][l] + d[4][l];
        t[1][l] = even + odd;
        t[2][l] = even - odd;
        t[3][l] = even_half + odd_half;
        t[4][l] = even_half - odd_half;
        t[5][l] = 4.0 * d[1][l] - 5.0 * d[3][l] + d[5][l];
    }
    t
}

/// F(5x5, 2x2).
pub mod two {
    use super::{LANES, Lanes};

    /// `G w` along one axis.
    #[inline(always)]
    pub fn weights(w: &[Lanes; 2]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let (even, odd) = (w[0][l], w[1][l]);
            let (even_2, odd_2) = (w[0][l], 2.0 * w[1][l]);
            t[0][l] = 0.25 * w[0][l];
            t[1][l] = (even + odd) * (-1.0 / 6.0);
            t[2][l] = (odd - even) * (1.0 / 6.0);
            t[3][l] = (even_2 + odd_2) * (1.0 / 24.0);
            t[4][l] = (even_2 - odd_2) * (1.0 / 24.0);
            t[5][l] = w[1][l];
        }
        t
    }

    /// `A^T m` along one axis.
    #[inline(always)]
    pub fn outputs(m: &[Lanes; 6]) -> [Lanes; 5] {
        let mut t = [[0.0; LANES]; 5];
        for l in 0..LANES {
            let (sum, difference) = (m[1][l] + m[2][l], m[1][l] - m[2][l]);
            let (sum_2, difference_2) = (m[3][l] + m[4][l], m[3][l] - m[4][l]);
            t[0][l] = m[0][l] + sum + sum_2;
            t[1][l] = difference + 2.0 * difference_2;
            t[2][l] = sum + 4.0 * sum_2;
            t[3][l] = difference + 8.0 * difference_2;
            t[4][l] = sum + 16.0 * sum_2 + m[5][l];
        }
        t
    }

    /// `A z` along one axis.
    #[inline(always)]
    pub fn outputs_adjoint(z: &[Lanes; 5]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let (even, odd) = (z[0][l] + z[2][l] + z[4][l], z[1][l] + z[3][l]);
            let (even_2, odd_2) = (z[0][l] + 4.0 * z[2][l] + 16.0 * z[4][l], 2.0 * z[1][l] + 8.0 * z[3][l]);
            t[0][l] = z[0][l];
            t[1][l] = even + odd;
            t[2][l] = even - odd;
            t[3][l] = even_2 + odd_2;
            t[4][l] = even_2 - odd_2;
            t[5][l] = z[4][l];
        }
        t
    }

    /// `G^T u` along one axis.
    #[inline(always)]
    pub fn weights_adjoint(u: &[Lanes; 6]) -> [Lanes; 2] {
        let mut t = [[0.0; LANES]; 2];
        for l in 0..LANES {
            let (sum, difference) = (u[1][l] + u[2][l], u[2][l] - u[1][l]);
            let (sum_2, difference_2) = (u[3][l] + u[4][l], u[3][l] - u[4][l]);
            t[0][l] = 0.25 * u[0][l] - sum * (1.0 / 6.0) + sum_2 * (1.0 / 24.0);
            t[1][l] = difference * (1.0 / 6.0) + difference_2 * (1.0 / 12.0) + u[5][l];
        }
        t
    }
}

/// F(4x4, 3x3).
pub mod three {
    use super::{LANES, Lanes};

    /// `G w` along one axis.
    #[inline(always)]
    pub fn weights(w: &[Lanes; 3]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let sum = (w[0][l] + w[2][l]) * (-1.0 / 6.0);
            let middle = w[1][l] * (1.0 / 6.0);
            let sum_half = w[0][l] * (1.0 / 24.0) + w[2][l] * (1.0 / 6.0);
            let middle_half = w[1][l] * (1.0 / 12.0);
            t[0][l] = 0.25 * w[0][l];
            t[1][l] = sum - middle;
            t[2][l] = sum + middle;
            t[3][l] = sum_half + middle_half;
            t[4][l] = sum_half - middle_half;
            t[5][l] = w[2][l];
        }
        t
    }

    /// `A^T m` along one axis.
    #[inline(always)]
    pub fn outputs(m: &[Lanes; 6]) -> [Lanes; 4] {
        let mut t = [[0.0; LANES]; 4];
        for l in 0..LANES {
            let (sum, difference) = (m[1][l] + m[2][l], m[1][l] - m[2][l]);
            let (sum_2, difference_2) = (m[3][l] + m[4][l], m[3][l] - m[4][l]);
            t[0][l] = m[0][l] + sum + sum_2;
            t[1][l] = difference + 2.0 * difference_2;
            t[2][l] = sum + 4.0 * sum_2;
            t[3][l] = difference + 8.0 * difference_2 + m[5][l];
        }
        t
    }

    /// `A z` along one axis.
    #[inline(always)]
    pub fn outputs_adjoint(z: &[Lanes; 4]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let (even, odd) = (z[0][l] + z[2][l], z[1][l] + z[3][l]);
            let (even_2, odd_2) = (z[0][l] + 4.0 * z[2][l], 2.0 * z[1][l] + 8.0 * z[3][l]);
            t[0][l] = z[0][l];
            t[1][l] = even + odd;
            t[2][l] = even - odd;
            t[3][l] = even_2 + odd_2;
            t[4][l] = even_2 - odd_2;
            t[5][l] = z[3][l];
        }
        t
    }

    /// `G^T u` along one axis.
    #[inline(always)]
    pub fn weights_adjoint(u: &[Lanes; 6]) -> [Lanes; 3] {
        let mut t = [[0.0; LANES]; 3];
        for l in 0..LANES {
            let (sum, difference) = (u[1][l] + u[2][l], u[2][l] - u[1][l]);
            let (sum_2, difference_2) = (u[3][l] + u[4][l], u[3][l] - u[4][l]);
            t[0][l] = 0.25 * u[0][l] - sum * (1.0 / 6.0) + sum_2 * (1.0 / 24.0);
            t[1][l] = difference * (1.0 / 6.0) + difference_2 * (1.0 / 12.0);
            t[2][l] = (sum_2 - sum) * (1.0 / 6.0) + u[5][l];
        }
        t
    }
}

/// F(3x3, 4x4).
pub mod four {
    use super::{LANES, Lanes};

    /// `G w` along one axis.
    #[inline(always)]
    pub fn weights(w: &[Lanes; 4]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let (even, odd) = (w[0][l] + w[2][l], w[1][l] + w[3][l]);
            let (even_2, odd_2) = (w[0][l] + 4.0 * w[2][l], 2.0 * w[1][l] + 8.0 * w[3][l]);
            t[0][l] = 0.25 * w[0][l];
            t[1][l] = (even + odd) * (-1.0 / 6.0);
            t[2][l] = (odd - even) * (1.0 / 6.0);
            t[3][l] = (even_2 + odd_2) * (1.0 / 24.0);
            t[4][l] = (even_2 - odd_2) * (1.0 / 24.0);
            t[5][l] = w[3][l];
        }
        t
    }

    /// `A^T m` along one axis.
    #[inline(always)]
    pub fn outputs(m: &[Lanes; 6]) -> [Lanes; 3] {
        let mut t = [[0.0; LANES]; 3];
        for l in 0..LANES {
            let (sum, difference) = (m[1][l] + m[2][l], m[1][l] - m[2][l]);
            let (sum_2, difference_2) = (m[3][l] + m[4][l], m[3][l] - m[4][l]);
            t[0][l] = m[0][l] + sum + sum_2;
            t[1][l] = difference + 2.0 * difference_2;
            t[2][l] = sum + 4.0 * sum_2 + m[5][l];
        }
        t
    }

    /// `A z` along one axis.
    #[inline(always)]
    pub fn outputs_adjoint(z: &[Lanes; 3]) -> [Lanes; 6] {
        let mut t = [[0.0; LANES]; 6];
        for l in 0..LANES {
            let (even, odd) = (z[0][l] + z[2][l], z[1][l]);
            let (even_2, odd_2) = (z[0][l] + 4.0 * z[2][l], 2.0 * z[1][l]);
            t[0][l] = z[0][l];
            t[1][l] = even + odd;
            t[2][l] = even - odd;
            t[3][l] = even_2 + odd_2;
            t[4][l] = even_2 - odd_2;
            t[5][l] = z[2][l];
        }
        t
    }

    /// `G^T u` along one axis.
    #[inline(always)]
    pub fn weights_adjoint(u: &[Lanes; 6]) -> [Lanes; 4] {
        let mut t = [[0.0; LANES]; 4];
        for l in 0..LANES {
            let (sum, difference) = (u[1][l] + u[2][l], u[2][l] - u[1][l]);
            let (sum_2, difference_2) = (u[3][l] + u[4][l], u[3][l] - u[4][l]);
            t[0][l] = 0.25 * u[0][l] - sum * (1.0 / 6.0) + sum_2 * (1.0 / 24.0);
            t[1][l] = difference * (1.0 / 6.0) + difference_2 * (1.0 / 12.0);
            t[2][l] = (sum_2 - sum) * (1.0 / 6.0);
            t[3][l] = difference * (1.0 / 6.0) + difference_2 * (1.0 / 3.0) + u[5][l];
        }
        t
    }
}
