//! Tables, shapes and numbers as commands print them.

/// `64 x 32 x 3`: the axes of one picture.
pub fn shape_of(axes: &[usize]) -> String {
    axes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// Prints a table whose first `left` columns stand at the left, the others at the right.
pub fn print_rows<const N: usize>(heads: &[String; N], rows: impl Iterator<Item = [String; N]>, left: usize) {
    let table: Vec<[String; N]> = std::iter::once(heads.clone()).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|i| table.iter().map(|cells| cells[i].chars().count()).max().unwrap_or_default());
    for cells in &table {
        let cell = |(i, (cell, &width)): (usize, (&String, &usize))| match i < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        };
        let line: Vec<String> = cells.iter().zip(&widths).enumerate().map(cell).collect();
        outln!("{}", line.join("  ").trim_end());
    }
}

/// `24,788,050` for people.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 24_788_050].map(thousands), ["0", "999", "1,000", "24,788,050"]);
    }
}
