//! Files of point pairs.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::io_error;

/// A place in the source and the same place in the target: x and y in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointPair {
    /// In the image that gets warped.
    pub source: [f64; 2],
    /// In the grid that it is warped onto.
    pub target: [f64; 2],
}

/// The pairs of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// In the file's order.
    pub pairs: Vec<PointPair>,
    /// The line of each, from 1.
    pub lines: Vec<usize>,
    /// The names of the columns read, x and y of the source and of the target, where the file names them.
    pub columns: Option<[String; 4]>,
}

/// What is read, in this order.
const COLUMNS: [&str; 4] = ["x_source", "y_source", "x_target", "y_target"];
/// Words that stand for a side in the name of a column. A SAR image is what gets registered to an optical one.
const SIDES: [&[&str]; 2] = [
    &["source", "src", "s", "from", "moving", "sensed", "warp", "sar", "1"],
    &["target", "tgt", "dst", "t", "to", "fixed", "reference", "ref", "base", "optical", "opt", "2"],
];
/// Words that stand for x and for y.
const AXES: [&[&str]; 2] = [&["x", "col", "column"], &["y", "row", "line"]];

impl Points {
    /// Reads a table of four columns, `x_source, y_source, x_target, y_target`: numbers between commas, semicolons,
    /// tabs or blanks, a pair a line.
    ///
    /// Lines that are empty or begin with `#`, `%`, `;` or `//` are passed over. A first line of names may put the
    /// columns in any order, among others; names like `src_x`, `col1` or `optical_row` are understood too. `columns`
    /// gives the four names, or their numbers from 1, where that does not do, e.g. `3,4,1,2`.
    ///
    /// # Errors
    /// A file that cannot be read; a table with cells that are not numbers, with the line; columns that cannot be told
    /// apart.
    pub fn read(path: &Path, columns: Option<&str>) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| io_error("cannot read the points", path, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text, columns).map_err(|fault| match fault.line {
            Some(line) => Error::input(fault.what, format!("{} line {line}", path.display()), fault.remedy),
            None => Error::input(fault.what, path.display(), fault.remedy),
        })
    }

    fn parse(text: &str, columns: Option<&str>) -> Outcome<Self> {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
        let mut points = Points { pairs: Vec::new(), lines: Vec::new(), columns: None };
        // Where the four numbers stand, and how many there are in a line.
        let mut layout: Option<([usize; 4], usize)> = None;
        for (line, content) in text.lines().enumerate().map(|(i, content)| (i + 1, content.trim())) {
            let comment = ["#", "%", ";", "//"].iter().find_map(|mark| content.strip_prefix(mark));
            if content.is_empty() || comment.is_some() {
                // numpy.savetxt writes the names as a comment.
                let names = fields(comment.unwrap_or_default().trim_start_matches(['#', '%', ';']).trim());
                if layout.is_none() && columns.is_none() && by_name(&names).is_ok() {
                    points.columns = by_name(&names).ok().map(|places| places.map(|at| names[at].clone()));
                    layout = by_name(&names).ok().map(|places| (places, names.len()));
                }
                continue;
            }
            let content = content.split(" #").next().unwrap_or(content);
            let fields = fields(content);
            let (places, count) = match layout {
                Some(layout) => layout,
                None => {
                    let named = fields.iter().all(|field| field.parse::<f64>().is_err());
                    let places = places(&fields, named, columns).map_err(|fault| fault.on(line))?;
                    layout = Some((places, fields.len()));
                    if named {
                        points.columns = Some(places.map(|at| fields[at].clone()));
                        continue;
                    }
                    (places, fields.len())
                }
            };
            if fields.len() != count {
                let what = format!("{} values where there were {count} before", fields.len());
                return Err(Fault::new(what, "write as many values in each line").on(line));
            }
            let mut values = [0.0; 4];
            for (value, at) in values.iter_mut().zip(places) {
                *value = number(&fields[at], at).map_err(|fault| fault.on(line))?;
            }
            let [x, y, u, v] = values;
            points.pairs.push(PointPair { source: [x, y], target: [u, v] });
            points.lines.push(line);
        }
        if points.pairs.is_empty() {
            return Err(Fault::new("there are no points", "write x_source,y_source,x_target,y_target, a pair a line"));
        }
        Ok(points)
    }
}

/// What is wrong with a file, before its name is known.
#[derive(Debug)]
struct Fault {
    line: Option<usize>,
    what: String,
    remedy: String,
}

type Outcome<T> = std::result::Result<T, Fault>;

impl Fault {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Fault { line: None, what: what.into(), remedy: remedy.into() }
    }

    fn on(self, line: usize) -> Self {
        Fault { line: Some(line), ..self }
    }
}

/// The values of a line, without quotes.
fn fields(line: &str) -> Vec<String> {
    let between_semicolons = line.split(';').filter(|part| !part.trim().is_empty()).count();
    let parts: Vec<String> = if between_semicolons >= 4 {
        // Where semicolons part the values, a comma is the decimal mark.
        let decimal = |part: &str| if part.contains('.') { part.to_owned() } else { part.replacen(',', ".", 1) };
        line.split(';').map(decimal).collect()
    } else if line.contains([',', ';']) {
        // `1 2, 3 4` are four numbers and `x source` is one name; an empty field stays one, so that no value slips into
        // another column.
        let blanks = |part: &str| {
            let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
            let numbers = !words.is_empty() && words.iter().all(|word| word.parse::<f64>().is_ok());
            if numbers { words } else { vec![part.to_owned()] }
        };
        line.split([',', ';']).flat_map(blanks).collect()
    } else {
        line.split_whitespace().map(str::to_owned).collect()
    };
    let mut values: Vec<String> =
        parts.iter().map(|part| part.trim().trim_matches(['"', '\'']).trim().to_owned()).collect();
    // A separator at the end of a line begins no value.
    if values.last().is_some_and(String::is_empty) {
        values.pop();
    }
    values
}

fn number(field: &str, at: usize) -> Outcome<f64> {
    let shown: String = field.chars().take(40).collect();
    match field.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => {
            Err(Fault::new(format!("{shown} in column {} is not a place", at + 1), "correct the line or remove it"))
        }
        Err(_) if field.is_empty() => Err(Fault::new(format!("column {} is empty", at + 1), "fill it or take it away")),
        Err(_) => {
            let what = format!("`{shown}` in column {} is not a number", at + 1);
            Err(Fault::new(what, "write numbers, separated by commas"))
        }
    }
}

/// Where the four columns stand, by the first line that is not a comment.
fn places(fields: &[String], named: bool, columns: Option<&str>) -> Outcome<[usize; 4]> {
    if let Some(columns) = columns {
        return chosen(fields, named, columns);
    }
    if named {
        return by_name(fields).map_err(|missing| {
            let what = format!("no column {missing} among {}", fields.join(", "));
            Fault::new(what, format!("name them {}, or choose four by ⟨columns⟩", COLUMNS.join(", ")))
        });
    }
    if fields.len() != 4 {
        let what = format!("{} values, not x_source, y_source, x_target, y_target", fields.len());
        return Err(Fault::new(what, "name the columns in a first line, or choose four by ⟨columns⟩, e.g. 2,3,4,5"));
    }
    Ok([0, 1, 2, 3])
}

/// The columns that the user has chosen, by name or by number from 1.
fn chosen(fields: &[String], named: bool, columns: &str) -> Outcome<[usize; 4]> {
    let remedy = "give ⟨columns⟩ four names or numbers from 1, those of x and y in the source, then in the target";
    let wanted: Vec<&str> = columns.split(',').map(str::trim).collect();
    let wanted: [&str; 4] =
        wanted.try_into().map_err(|_| Fault::new(format!("⟨columns⟩ {columns} are not four"), remedy))?;
    let mut places = [0; 4];
    for (place, wanted) in places.iter_mut().zip(wanted) {
        let by_name = fields.iter().position(|field| named && field.eq_ignore_ascii_case(wanted));
        let by_number = wanted.parse::<usize>().ok().filter(|number| (1..=fields.len()).contains(number));
        let found = by_name.or(by_number.map(|number| number - 1));
        *place = found.ok_or_else(|| {
            let among = if named { fields.join(", ") } else { format!("{} without names", fields.len()) };
            Fault::new(format!("no column {wanted} among {among}"), remedy)
        })?;
    }
    Ok(places)
}

/// Where the four columns stand, by their names; else the first one that is missing or there twice.
fn by_name(names: &[String]) -> std::result::Result<[usize; 4], &'static str> {
    let told: Vec<Option<usize>> = names.iter().map(|name| meaning(name)).collect();
    let mut places = [0; 4];
    for (column, place) in places.iter_mut().enumerate() {
        let mut found = (0..names.len()).filter(|at| told[*at] == Some(column));
        *place = match (found.next(), found.next()) {
            (Some(at), None) => at,
            _ => return Err(COLUMNS[column]),
        };
    }
    Ok(places)
}

/// Which of [`COLUMNS`] a name stands for: a word for the axis and one for the side, in either order.
fn meaning(name: &str) -> Option<usize> {
    let name: String = name.to_ascii_lowercase().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    for (side, words) in SIDES.iter().enumerate() {
        for (axis, letters) in AXES.iter().enumerate() {
            let is = |word: &str, letter: &str| {
                name.strip_prefix(word) == Some(letter) || name.strip_suffix(word) == Some(letter)
            };
            if words.iter().any(|word| letters.iter().any(|letter| is(word, letter))) {
                return Some(2 * side + axis);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [PointPair; 2] = [
        PointPair { source: [1.5, 2.0], target: [30.0, -4.25] },
        PointPair { source: [5.0, 6.0], target: [700.0, 8.0] },
    ];

    #[test]
    fn a_table_is_read_however_it_is_written() {
        for text in [
            "1.5,2,30,-4.25\n5,6,700,8\n",
            "x_source,y_source,x_target,y_target\n1.5,2,30,-4.25\n5,6,700,8",
            "\u{feff}x_target;y_target;x_source;y_source\r\n30;-4,25;1,5;2\r\n700;8;5;6\r\n",
            "# a comment\n\n  1.5 2\t30   -4.25\n% another\n5 6 700 8 # the last\n",
            "# x_target y_target x_source y_source\n30 -4.25 1.5 2\n700 8 5 6\n",
            "id\tsource_x\tsource_y\ttarget_x\ttarget_y\tscore\na\t1.5\t2\t30\t-4.25\t0.9\nb\t5\t6\t700\t8\t0.8\n",
            "\"X1\", \"Y1\", \"X2\", \"Y2\"\n\"1.5\", \"2\", \"30\", \"-4.25\"\n5.0, 6e0, +7e2, 8.\n",
            "sar_row,sar_col,optical_row,optical_col\n2,1.5,-4.25,30\n6,5,8,700\n",
            "; ENVI-like\n1.5 2, 30 -4.25\n5 6, 700 8\n",
            "x source, y source, x target, y target\n1.5, 2, 30, -4.25\n5, 6, 700, 8\n",
            "1.5,2,30,-4.25,\r5,6,700,8,\r",
            "1.5,2;30,-4.25\n5,6;700,8\n",
        ] {
            let points = Points::parse(text, None).unwrap_or_else(|fault| panic!("{text:?}: {}", fault.what));
            assert_eq!(points.pairs, PAIRS, "{text:?}");
        }
    }

    #[test]
    fn columns_can_be_chosen_by_number_and_by_name() {
        let text = "7,30,-4.25,1.5,2\n8,700,8,5,6\n";
        assert_eq!(Points::parse(text, Some("4,5,2,3")).unwrap().pairs, PAIRS);
        let text = format!("n,left,top,a,b\n{text}");
        let points = Points::parse(&text, Some("A, b, left, TOP")).unwrap();
        assert_eq!((points.pairs.as_slice(), points.lines), (PAIRS.as_slice(), vec![2, 3]));
        assert_eq!(points.columns.unwrap(), ["a", "b", "left", "top"]);
    }

    #[test]
    fn what_is_no_table_of_points_is_refused_with_its_line() {
        for (text, columns, line, named) in [
            ("1,2,3,4\n5,6,seven,8\n", None, Some(2), "`seven` in column 3"),
            ("1,2,3,4\n\n5,6,7\n", None, Some(3), "3 values where there were 4"),
            ("1,2,3,4\n5,,7,8\n", None, Some(2), "column 2 is empty"),
            ("1,2,3,4\n5,nan,7,8\n", None, Some(2), "nan in column 2 is not a place"),
            ("1,2,3,inf\n", None, Some(1), "inf"),
            ("# five\n1,2,3,4,5\n", None, Some(2), "5 values"),
            ("lon,lat,x_target,y_target\n1,2,3,4\n", None, Some(1), "no column x_source"),
            ("x_source,y_source,x_source,y_target\n1,2,3,4\n", None, Some(1), "no column x_source"),
            ("1,2,3,4\n", Some("1,2,3,9"), Some(1), "no column 9"),
            ("1,2,3,4\n", Some("1,2,3"), Some(1), "not four"),
            ("# nothing\n\n", None, None, "no points"),
            ("", None, None, "no points"),
            ("\u{0}\u{1}PNG\n", None, Some(1), "no column"),
        ] {
            let fault = Points::parse(text, columns).expect_err(text);
            assert_eq!(fault.line, line, "{text:?}: {}", fault.what);
            assert!(fault.what.contains(named), "{text:?}: {}", fault.what);
        }
    }
}
