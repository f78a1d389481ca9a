//! Numbers as people read them.

/// `value` rounded to `digits` significant digits.
pub(super) fn round_to(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let places = digits - 1 - value.abs().log10().floor() as i32;
    // Within these limits formatting rounds to decimal places exactly; beyond, an exponent keeps the digits.
    match places {
        0..=15 => format!("{value:.*}", places as usize).parse().unwrap_or(value),
        _ => format!("{value:.*e}", digits as usize - 1).parse().unwrap_or(value),
    }
}

/// A number for people: four significant digits, thousands set apart by a narrow space, a true minus sign, and powers
/// of ten for the very small and the very large.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_string();
    }
    let magnitude = round_to(value.abs(), 4);
    let text = if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
        scientific(magnitude)
    } else if magnitude >= 1000.0 {
        grouped(value.abs().round() as u64)
    } else {
        magnitude.to_string()
    };
    if value < 0.0 { format!("−{text}") } else { text }
}

/// `1234567` as `1 234 567` with narrow spaces that do not break.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `0.00025` as `2.5 × 10⁻⁴`, a mantissa of 1 left away.
fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raise = |digit: char| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        _ => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    let power: String = exponent.chars().map(raise).collect();
    if mantissa == "1" { format!("10{power}") } else { format!("{mantissa} × 10{power}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_naturally() {
        let read = [0.0, 2.306_91, 1234.6, -1_000_000.0, 1e-4, -2.5e-7, 1.234e9, f64::NAN].map(number);
        let want =
            ["0", "2.307", "1\u{202f}235", "−1\u{202f}000\u{202f}000", "10⁻⁴", "−2.5 × 10⁻⁷", "1.234 × 10⁹", "–"];
        assert_eq!(read, want);
    }
}
