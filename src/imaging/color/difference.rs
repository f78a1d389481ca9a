//! How far apart two colours look.

/// CIE 1976: the Euclidean distance of two Lab colours.
pub fn delta_e_76(x: [f64; 3], y: [f64; 3]) -> f64 {
    x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

/// CIEDE2000 of two Lab colours with the parametric factors 1.
///
/// Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data, and
/// Mathematical Observations", Color Research & Application 30(1), 2005; the numbers below are its equations. Angles
/// are in degrees there and here.
pub fn delta_e_2000(x: [f64; 3], y: [f64; 3]) -> f64 {
    /// `sqrt(c^7 / (c^7 + 25^7))` of eq. 4 and 17.
    fn of_chroma(c: f64) -> f64 {
        let c7 = c.powi(7);
        (c7 / (c7 + 25f64.powi(7))).sqrt()
    }
    let cos = |degrees: f64| degrees.to_radians().cos();
    // 2 to 4: a stretched, more for colours near grey.
    let chroma = (x[1].hypot(x[2]) + y[1].hypot(y[2])) / 2.0;
    let stretch = 1.0 + 0.5 * (1.0 - of_chroma(chroma));
    // 5 to 7: chroma, and hue in 0..360, which is 0 for grey.
    let polar = |lab: [f64; 3]| {
        let a = stretch * lab[1];
        let hue = if a == 0.0 && lab[2] == 0.0 { 0.0 } else { lab[2].atan2(a).to_degrees().rem_euclid(360.0) };
        (a.hypot(lab[2]), hue)
    };
    let ((c1, h1), (c2, h2)) = (polar(x), polar(y));
    let no_hue = c1 * c2 == 0.0;
    // 8 to 11: the differences.
    let (dl, dc) = (y[0] - x[0], c2 - c1);
    let turn = match h2 - h1 {
        _ if no_hue => 0.0,
        far if far > 180.0 => far - 360.0,
        far if far < -180.0 => far + 360.0,
        near => near,
    };
    let dh = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin();
    // 12 to 14: the means; that of two hues lies on the shorter way between them.
    let (l, c) = ((x[0] + y[0]) / 2.0, (c1 + c2) / 2.0);
    let h = match h1 + h2 {
        sum if no_hue => sum,
        sum if (h1 - h2).abs() <= 180.0 => sum / 2.0,
        sum if sum < 360.0 => (sum + 360.0) / 2.0,
        sum => (sum - 360.0) / 2.0,
    };
    // 15 to 21: the weights.
    let t = 1.0 - 0.17 * cos(h - 30.0) + 0.24 * cos(2.0 * h) + 0.32 * cos(3.0 * h + 6.0) - 0.20 * cos(4.0 * h - 63.0);
    let theta = 30.0 * (-((h - 275.0) / 25.0).powi(2)).exp();
    let bright = (l - 50.0).powi(2);
    let s_l = 1.0 + 0.015 * bright / (20.0 + bright).sqrt();
    let (s_c, s_h) = (1.0 + 0.045 * c, 1.0 + 0.015 * c * t);
    let rotation = -(2.0 * theta).to_radians().sin() * 2.0 * of_chroma(c);
    // 22.
    let (l, c, h) = (dl / s_l, dc / s_c, dh / s_h);
    (l * l + c * c + h * h + rotation * c * h).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    /// Table 1 of Sharma, Wu and Dalal: two colours and their difference.
    const PAIRS: [([f64; 3], [f64; 3], f64); 34] = [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 3.1571, -77.2803], [50.0, 0.0, -82.7485], 2.8615),
        ([50.0, 2.8361, -74.0200], [50.0, 0.0, -82.7485], 3.4412),
        ([50.0, -1.3802, -84.2814], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, -0.9009, -85.5211], [50.0, 0.0, -82.7485], 1.0000),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, -1.0, 2.0], [50.0, 0.0, 0.0], 2.3669),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0009], 7.1792),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0010], 7.1792),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0011], 7.2195),
        ([50.0, 2.4900, -0.0010], [50.0, -2.4900, 0.0012], 7.2195),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0009, -2.4900], 4.8045),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0010, -2.4900], 4.8045),
        ([50.0, -0.0010, 2.4900], [50.0, 0.0011, -2.4900], 4.7461),
        ([50.0, 2.5, 0.0], [50.0, 0.0, -2.5], 4.3065),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([50.0, 2.5, 0.0], [61.0, -5.0, 29.0], 22.8977),
        ([50.0, 2.5, 0.0], [56.0, -27.0, -3.0], 31.9030),
        ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
        ([50.0, 2.5, 0.0], [50.0, 3.1736, 0.5854], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 3.2972, 0.0], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 1.8634, 0.5757], 1.0000),
        ([50.0, 2.5, 0.0], [50.0, 3.2592, 0.3350], 1.0000),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
        ([63.0109, -31.0961, -5.8663], [62.8187, -29.7946, -4.0864], 1.2630),
        ([61.2901, 3.7196, -5.3901], [61.4292, 2.2480, -4.9620], 1.8731),
        ([35.0831, -44.1164, 3.7933], [35.0232, -40.0716, 1.5901], 1.8645),
        ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
        ([36.4612, 47.8580, 18.3852], [36.2715, 50.5065, 21.2231], 1.4146),
        ([90.8027, -2.0831, 1.4410], [91.1528, -1.6435, 0.0447], 1.4441),
        ([90.9257, -0.5406, -0.9208], [88.6381, -0.8985, -0.7239], 1.5381),
        ([6.7747, -0.2908, -2.4247], [5.8714, -0.0985, -2.2286], 0.6377),
        ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
    ];

    #[test]
    fn ciede2000_has_the_published_values_either_way_round() {
        for (x, y, want) in PAIRS {
            for found in [delta_e_2000(x, y), delta_e_2000(y, x)] {
                // Half a unit of the fourth decimal, as published.
                assert!(abs_diff_eq!(found, want, epsilon = 5.001e-5), "{x:?} {y:?}: {found}, want {want}");
            }
        }
    }

    #[test]
    fn delta_e_76_is_the_distance_and_equal_colours_have_none() {
        assert_eq!(delta_e_76([50.0, 1.0, -2.0], [50.0, 4.0, 2.0]), 5.0);
        for lab in [[0.0; 3], [50.0, 10.0, -20.0], [100.0, 0.0, 0.0]] {
            assert_eq!((delta_e_76(lab, lab), delta_e_2000(lab, lab)), (0.0, 0.0));
        }
    }
}
