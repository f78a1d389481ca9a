//! The matrix that maps one plane to another.

use crate::imaging::registration::degenerate::Refusal;

/// A homography of the plane: `(x, y, 1)` to `w (x', y', 1)`, with a weight w above 0 on this side of the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Homography([[f64; 3]; 3]);

impl Homography {
    /// The homography of a matrix, rows first, whose sign says which side of the horizon is this one; `None` if it is
    /// not finite or maps the plane to a line.
    ///
    /// It is scaled so that its last element is 1 where the first pixel lies on this side of the horizon, and else to
    /// length 1.
    pub fn new(rows: [[f64; 3]; 3]) -> Option<Self> {
        let length = rows.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
        // The last element is the weight of the first pixel; a tiny one would blow up the others.
        let scale = if rows[2][2] > 1e-12 * length { rows[2][2] } else { length };
        let matrix = Homography(rows.map(|row| row.map(|v| v / scale)));
        let fine = matrix.0.iter().flatten().all(|v| v.is_finite()) && matrix.determinant() != 0.0;
        fine.then_some(matrix)
    }

    /// The matrix, rows first.
    pub fn rows(&self) -> [[f64; 3]; 3] {
        self.0
    }

    /// The weight w of a place: 0 on the horizon, below 0 beyond it.
    pub fn weight(&self, [x, y]: [f64; 2]) -> f64 {
        self.0[2][0] * x + self.0[2][1] * y + self.0[2][2]
    }

    /// Where a place goes to; `None` on and beyond the horizon.
    pub fn map(&self, place: [f64; 2]) -> Option<[f64; 2]> {
        let weight = self.weight(place);
        let along = |row: &[f64; 3]| (row[0] * place[0] + row[1] * place[1] + row[2]) / weight;
        (weight > 0.0).then(|| [along(&self.0[0]), along(&self.0[1])])
    }

    /// The way back.
    pub fn inverse(&self) -> Homography {
        let m = &self.0;
        let determinant = self.determinant();
        // Cofactors, transposed.
        let cofactor = |i: usize, k: usize| {
            let (r, s, a, b) = ((i + 1) % 3, (i + 2) % 3, (k + 1) % 3, (k + 2) % 3);
            m[r][a] * m[s][b] - m[r][b] * m[s][a]
        };
        Homography([0, 1, 2].map(|i| [0, 1, 2].map(|k| cofactor(k, i) / determinant)))
    }

    /// The matrix between parts of the two planes: places of the source are counted from `source`, those of the target
    /// from `target`.
    pub fn between(&self, source: [f64; 2], target: [f64; 2]) -> [[f64; 3]; 3] {
        let shift = |[x, y]: [f64; 2]| [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
        product(&shift(target.map(|v| -v)), &product(&self.0, &shift(source)))
    }

    /// How many target pixels a source pixel covers at a place; below 0 where the image is mirrored.
    pub fn magnification(&self, place: [f64; 2]) -> f64 {
        self.determinant() / self.weight(place).powi(3)
    }

    /// Whether an image of `[width, height]` pixels can be warped by this homography.
    ///
    /// # Errors
    /// It crosses the horizon, or would be mirrored.
    pub fn check_picture(&self, [width, height]: [usize; 2]) -> Result<(), Refusal> {
        let (right, bottom) = (width as f64 - 0.5, height as f64 - 0.5);
        let corners = [[-0.5, -0.5], [right, -0.5], [-0.5, bottom], [right, bottom]];
        if corners.iter().any(|corner| self.weight(*corner) <= 0.0) {
            return Err(Refusal::new(
                "the homography maps a part of the image across its horizon, to infinity",
                "check for wrong pairs, and spread the points over the whole image",
            ));
        }
        if self.determinant() < 0.0 {
            return Err(Refusal::new(
                "the homography mirrors the image",
                "check that x and y are not exchanged and that y counts down from the top in both images",
            ));
        }
        Ok(())
    }

    fn determinant(&self) -> f64 {
        let m = &self.0;
        (0..3).map(|i| m[0][i] * (m[1][(i + 1) % 3] * m[2][(i + 2) % 3] - m[1][(i + 2) % 3] * m[2][(i + 1) % 3])).sum()
    }
}

/// The product of two matrices.
pub(super) fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    a.map(|row| [0, 1, 2].map(|k| row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]))
}
